import assert from "node:assert/strict";
import { parseIndex, parseManifest } from "../../lib/transport/mod.ts";

const descriptor = { mediaType: "x/y", digest: `sha256:${"0".repeat(64)}`, size: 1 };
const manifest = { schemaVersion: 2, config: descriptor, layers: [descriptor] };
const index = { schemaVersion: 2, manifests: [descriptor] };

function bytes(document: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(document));
}

Deno.test("what is a manifest and an index at once is neither", async (t) => {
  const cases: [name: string, parse: (bytes: Uint8Array) => unknown, document: object][] = [
    ["manifest", parseManifest, manifest],
    ["index", parseIndex, index],
  ];
  for (const [name, parse, document] of cases) {
    await t.step(name, () => {
      const foreign = name === "manifest" ? ["manifests"] : ["config", "layers"];
      for (const field of [...foreign, "fsLayers", "history"]) {
        assert.throws(() => parse(bytes({ ...document, [field]: [] })), {
          code: "CFS_FORMAT",
          message: new RegExp(`: field ${field}: belongs to another kind of document$`),
        });
        parse(bytes({ ...document, [field]: null, unknown: [] }));
      }
    });
  }
});
