import assert from "node:assert/strict";
import type { ProgressEvent } from "../../lib/base/mod.ts";
import { buildTree, imageBytes, openImageRef, reportStored } from "../../lib/oci/mod.ts";
import { content, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  AMD64,
  chain,
  LayoutMaker,
  makeImage,
  names,
  newRepository,
  pull,
  sha256,
  TYPE,
} from "../oci/_oci.ts";

loadNative();

const LAYER = Buffer.concat([
  header({ name: "file", size: 100 }),
  content("x".repeat(100)),
  new Uint8Array(1024),
]);
const LABEL = "containers.composefs.fsverity";

/** Digests of the layer's image in both formats. */
async function digests(dir: TempDir): Promise<Record<1 | 2, string>> {
  using repository = newRepository(dir.join("first"));
  await pull(repository, makeImage(dir.join("plain"), { layers: [LAYER] }));
  const image = openImageRef(repository, "t");
  const layers = image.layerIds.map((id) => ({
    id,
    object: image.configStream.refs.get(id.toString())!,
  }));
  const tree = buildTree(repository, layers);
  const id = (version: 1 | 2) => repository.idOf(imageBytes(repository, tree, version));
  return { 1: id(1), 2: id(2) };
}

Deno.test("images are what they claim to be, or there is a warning, or they are refused", async (t) => {
  using dir = new TempDir();
  const { 1: v1, 2: v2 } = await digests(dir);
  const cases: {
    name: string;
    label?: string;
    annotation?: string;
    status: string;
    detail: RegExp;
  }[] = [
    { name: "nothing", status: "none", detail: /claims no composefs digest/ },
    { name: "format 1", label: v1, status: "ok", detail: /the image of format 1/ },
    { name: "format 2", label: v2, status: "ok", detail: /the image of format 2/ },
    { name: "twice the same", label: v1, annotation: v1, status: "ok", detail: /format 1/ },
    { name: "in the manifest", annotation: v2, status: "ok", detail: /format 2/ },
    { name: "two", label: v1, annotation: v2, status: "FAIL", detail: /two different claims/ },
    { name: "another", label: "0".repeat(64), status: "FAIL", detail: /other digests/ },
    { name: "upper case", label: v1.toUpperCase(), status: "FAIL", detail: /malformed claim/ },
    { name: "no digest", label: "x", status: "FAIL", detail: /malformed claim/ },
    {
      name: "another algorithm",
      label: "0".repeat(128),
      status: "unchecked",
      detail: /not comparable here/,
    },
  ];
  for (const { name, label, annotation, status, detail } of cases) {
    await t.step(name, async () => {
      const maker = new LayoutMaker(dir.join(`${name}.layout`));
      const config = maker.json({
        ...AMD64,
        config: { Labels: label === undefined ? {} : { [LABEL]: label } },
        rootfs: { type: "layers", diff_ids: [sha256(LAYER)] },
      }, TYPE.config);
      const annotations = annotation === undefined ? {} : { [LABEL]: annotation };
      const image = maker.image({ layers: [LAYER], manifest: { config, annotations } });
      const reference = maker.index([image]);
      using strict = newRepository(dir.join(`${name}.strict`));
      const strictly = pull(strict, reference, { requireSeal: true });
      if (status === "ok") await strictly;
      else {
        await assert.rejects(strictly, (error) => {
          assert.match(chain(error), /Seal check failed: /);
          assert.match(chain(error), detail);
          return true;
        });
        assert.deepEqual(names(strict), []);
      }
      using repository = newRepository(dir.join(`${name}.repo`));
      const events: ProgressEvent[] = [];
      const progress = (event: ProgressEvent) => void events.push(event);
      await pull(repository, reference, { progress });
      const warnings = events.filter(({ type }) => type === "warning");
      assert.equal(warnings.length, status === "ok" || status === "none" ? 0 : 1);
      const policy = dir.join("policy.json");
      dir.write(
        "policy.json",
        new TextEncoder().encode('{"default":[{"type":"insecureAcceptAnything"}]}'),
      );
      const report = await reportStored(repository, "t", { policy });
      const link = report.links.find(({ id }) => id === "seal")!;
      assert.equal(link.status, status);
      assert.match(link.detail, detail);
      // An image that is there already is looked at once more.
      if (status === "ok") await pull(repository, reference, { requireSeal: true });
      else await assert.rejects(pull(repository, reference, { requireSeal: true }));
    });
  }
});
