import assert from "node:assert/strict";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { ComposefsError } from "../../lib/base/mod.ts";
import { TAR_DIFF_MAGIC } from "../../lib/delta/mod.ts";
import { applied, expectedDeltas, Layout, oldImage, sourceTables } from "../delta/_delta.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const SLOWEST = 1000;

Deno.test(`tar-diffs: ${ROUNDS} changed ones, seed ${seed()}`, async () => {
  const inputs: { bytes: Uint8Array; text: Uint8Array; old: string }[] = [];
  for (const name of Object.keys(expectedDeltas())) {
    if (name.includes("zstd_fallback")) continue;
    for (const [, bytes] of new Layout(`${name}.delta`).tarDiffs()) {
      let text: Uint8Array = new Uint8Array(0);
      try {
        text = zstdDecompressSync(bytes.subarray(TAR_DIFF_MAGIC.length));
      } catch {
        // This one is damaged already.
      }
      inputs.push({ bytes, text, old: oldImage(name) });
    }
  }
  const tables = new Map([...new Set(inputs.map(({ old }) => old))].map(
    (old) => [old, sourceTables(old).true],
  ));
  const rng = new Rng(seed());
  const counts = { values: 0, errors: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const { bytes, text, old } = rng.pick(inputs);
    // Changes of packed bytes mostly end in the decompressor, so operations are changed too.
    const changed = rng.oneIn(3)
      ? mutate(bytes, rng)
      : Buffer.concat([TAR_DIFF_MAGIC, zstdCompressSync(mutate(text, rng))]);
    const start = performance.now();
    try {
      await applied(changed, tables.get(old)!, { limit: 64 * 1024 * 1024 });
      counts.values++;
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      counts.errors++;
    }
    assert.ok(performance.now() - start < SLOWEST, `round ${round} took too long`);
  }
  assert.ok(counts.values > ROUNDS / 20 && counts.errors > ROUNDS / 4, JSON.stringify(counts));
});
