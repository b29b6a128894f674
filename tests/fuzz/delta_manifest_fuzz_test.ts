import assert from "node:assert/strict";
import { ComposefsError } from "../../lib/base/mod.ts";
import { isDelta, parseDelta } from "../../lib/oci/delta_artifact.ts";
import { parseManifest } from "../../lib/transport/mod.ts";
import { expectedDeltas, Layout } from "../delta/_delta.ts";
import { Rng, seed } from "./_mutate.ts";
import { changedDocument } from "./_rearrange.ts";

const ROUNDS = 20_000;
const SLOWEST = 1000;

Deno.test(`manifests of deltas: ${ROUNDS} changed ones, seed ${seed()}`, () => {
  const inputs = Object.keys(expectedDeltas())
    .map((name) => new TextEncoder().encode(JSON.stringify(new Layout(`${name}.delta`).manifest)));
  const rng = new Rng(seed());
  const counts = { values: 0, errors: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    try {
      const manifest = parseManifest(changedDocument(rng.pick(inputs), rng));
      const delta = parseDelta(manifest);
      assert.equal(typeof isDelta(manifest), "boolean");
      for (const to of delta.layers.keys()) assert.match(to, /^[a-z0-9+._-]+:./);
      counts.values++;
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      counts.errors++;
    }
    assert.ok(performance.now() - start < SLOWEST, `round ${round} took too long`);
  }
  assert.ok(counts.values > ROUNDS / 50 && counts.errors > ROUNDS / 4, JSON.stringify(counts));
});
