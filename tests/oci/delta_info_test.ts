import assert from "node:assert/strict";
import { UnsupportedError } from "../../lib/base/mod.ts";
import { readDeltaInfo } from "../../lib/oci/mod.ts";
import { expectedDeltas, newImage } from "../delta/_delta.ts";
import "../helpers/libraries.ts";
import { TempDir } from "../helpers/temp.ts";
import { operations, tarDiff, uvarint, writeDelta } from "./_delta_layout.ts";
import { AMD64, chain, fixtureLayout, LayoutMaker } from "./_oci.ts";

Deno.test("readDeltaInfo counts what the deltas of the generator hold", async (t) => {
  using dir = new TempDir();
  for (const [name, row] of Object.entries(expectedDeltas())) {
    if (row.tar_diffs === undefined) continue;
    await t.step(name, async () => {
      const layout = await fixtureLayout("delta", `${name}.delta`, dir).catch(() =>
        fixtureLayout("delta", name, dir)
      );
      const info = await readDeltaInfo(`oci:${layout}`, { platform: AMD64 });
      assert.equal(`${info.target}`, row.target_manifest);
      assert.equal(`${info.targetConfig}`, row.target_config);
      const diffs = info.layers.filter(({ tarDiff }) => tarDiff !== undefined);
      assert.equal(diffs.length, row.tar_diffs!.length);
      for (const [i, { blob, tarDiff }] of diffs.entries()) {
        const { ops, size } = row.tar_diffs![i]!;
        assert.equal(blob.size, size);
        for (const [kind, { count, bytes }] of Object.entries(tarDiff!.operations)) {
          const theirs = ops.filter(([op]) => op === kind.toUpperCase());
          assert.equal(count, theirs.length, kind);
          if (kind === "open" || kind === "seek") continue;
          assert.equal(bytes, theirs.reduce((sum, [, n]) => sum + n, 0), kind);
        }
        const opened = ops.filter(([op]) => op === "OPEN").map(([, , path]) => path);
        assert.equal(tarDiff!.sources, new Set(opened).size);
      }
    });
  }
});

Deno.test("readDeltaInfo refuses what is no delta, or no good one", async (t) => {
  using dir = new TempDir();
  const cases: [string, RegExp][] = [
    [newImage("main"), /is no delta/],
    ["hand-no_annotations.delta", /Delta manifest has no annotations/],
    ["hand-bad_op.delta", /Unexpected tar-diff op/],
    ["hand-trunc_zstd.delta", /incomplete frame/],
    ["hand-bad_magic.delta", /Invalid tar-diff header/],
  ];
  for (const [name, message] of cases) {
    await t.step(name, async () => {
      const layout = await fixtureLayout("delta", name, dir);
      await assert.rejects(readDeltaInfo(`oci:${layout}`, { platform: AMD64 }), (error) => {
        assert.match(chain(error), message);
        if (name === newImage("main")) {
          assert.ok((error as Error).cause instanceof UnsupportedError);
        }
        return true;
      });
    });
  }
});

Deno.test("readDeltaInfo takes neither memory nor time without end", async (t) => {
  using dir = new TempDir();
  const open = (count: number) => {
    const text = Array.from({ length: count }, (_, i) => `\x01\x07${String(i).padStart(7, "0")}`);
    return new TextEncoder().encode(text.join(""));
  };
  const cases: [string, Uint8Array, RegExp][] = [
    ["files", open(1_000_001), /More than 1000000 files are opened$/],
    ["bytes", operations("a", ...new Array(17).fill(2 ** 32)), /exceeds the limit of 68719476736/],
    ["bytes at once", Uint8Array.from([2, ...uvarint(2 ** 50)]), /exceeds the limit/],
    ["rest", new Uint8Array(2 * 10_000_001).fill(4).map((b, i) => i % 2 ? 0 : b), /nothing comes/],
  ];
  for (const [name, text, message] of cases) {
    await t.step(name, async () => {
      const maker = new LayoutMaker(dir.join(name));
      const [old, fresh] = [1024, 2048].map((size) =>
        maker.image({ layers: [new Uint8Array(size)] })
      );
      const delta = writeDelta(maker, { old: old!, fresh: fresh!, layers: [tarDiff(text)] });
      const reference = maker.index([delta]);
      await assert.rejects(readDeltaInfo(reference, { platform: AMD64 }), (error) => {
        assert.match(chain(error), message);
        return true;
      });
    });
  }
});
