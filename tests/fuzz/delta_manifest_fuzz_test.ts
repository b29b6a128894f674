import assert from "node:assert/strict";
import { ComposefsError } from "../../lib/base/mod.ts";
import { isDelta, parseDelta } from "../../lib/oci/delta_artifact.ts";
import { parseManifest } from "../../lib/transport/mod.ts";
import { expectedDeltas, Layout } from "../delta/_delta.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const SLOWEST = 1000;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const VALUES: Json[] = [null, true, 0, -1, 2 ** 53, 1e300, "", "x", "sha256:00", {}, [], [[]]];

/** Replaces, removes or moves one value of a document. */
function rearranged(document: Json, rng: Rng): Json {
  const places: { holder: Record<string, Json>; key: string }[] = [];
  const open: Json[] = [document];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next === null || typeof next !== "object") continue;
    const holder = next as Record<string, Json>;
    for (const key of Object.keys(holder)) {
      places.push({ holder, key });
      open.push(holder[key]!);
    }
  }
  const { holder, key } = rng.pick(places);
  const other = rng.pick(places);
  const choice = rng.below(3);
  if (choice === 0) delete holder[key];
  else holder[key] = choice === 1 ? rng.pick(VALUES) : structuredClone(other.holder[other.key]!);
  return document;
}

Deno.test(`manifests of deltas: ${ROUNDS} changed ones, seed ${seed()}`, () => {
  const inputs = Object.keys(expectedDeltas())
    .map((name) => new TextEncoder().encode(JSON.stringify(new Layout(`${name}.delta`).manifest)));
  const rng = new Rng(seed());
  const counts = { values: 0, errors: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    try {
      const bytes = rng.pick(inputs);
      // Changed bytes are mostly no JSON any more.
      const changed = rng.oneIn(4) ? mutate(bytes, rng) : new TextEncoder().encode(
        JSON.stringify(rearranged(JSON.parse(new TextDecoder().decode(bytes)), rng)),
      );
      const manifest = parseManifest(changed);
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
