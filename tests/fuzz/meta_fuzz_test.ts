import assert from "node:assert/strict";
import { FormatError } from "../../lib/base/mod.ts";
import { effectiveFormats, formatMetadata, parseMetadata } from "../../lib/repository/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;

const WORDS = [
  '"version"',
  '"algorithm"',
  '"features"',
  '"erofs_formats"',
  '"default"',
  '"extra"',
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  "null",
  "1",
  "-1",
  "1e999",
  '"\\u0000"',
  '"fsverity-sha256-12"',
];

/** The fixtures' texts and a pretty-printed one. */
function originals(): Uint8Array[] {
  const cases: { meta_json: string }[] = JSON.parse(
    Deno.readTextFileSync(`${ROOT}fixtures/repository/meta/cases.json`),
  );
  const texts = cases.map((row) => row.meta_json);
  texts.push(
    JSON.stringify(
      {
        version: 1,
        algorithm: "fsverity-sha512-12",
        features: { compatible: ["x"], "read-only-compatible": ["v1_erofs"], incompatible: [] },
        erofs_formats: { default: 1, extra: [2] },
      },
      null,
      2,
    ),
  );
  return texts.map((text) => new TextEncoder().encode(text));
}

/** Swaps a piece of the text for a word of the format, so that some results are JSON. */
function splice(bytes: Uint8Array, rng: Rng): Uint8Array {
  const text = new TextDecoder().decode(bytes);
  const at = rng.below(text.length + 1);
  return new TextEncoder().encode(
    text.slice(0, at) + rng.pick(WORDS) + text.slice(at + rng.below(12)),
  );
}

Deno.test(`mutated meta.json is read or refused with a FormatError (SEED=${seed()})`, () => {
  const rng = new Rng(seed());
  const inputs = originals();
  let good = 0;
  const started = performance.now();
  for (let round = 0; round < ROUNDS; round++) {
    const input = rng.pick(inputs);
    const bytes = rng.oneIn(2) ? mutate(input, rng) : splice(input, rng);
    try {
      const meta = parseMetadata(bytes);
      good++;
      assert.ok(meta.version === 0 || meta.version === 1);
      assert.deepEqual(meta.features.incompatible, []);
      const formats = effectiveFormats(meta);
      assert.ok(formats.length > 0 && new Set(formats).size === formats.length);
      // What was understood survives being written and read again.
      const again = parseMetadata(new TextEncoder().encode(formatMetadata(meta)));
      assert.deepEqual(again, meta);
    } catch (error) {
      assert.ok(error instanceof FormatError, `round ${round}: ${(error as Error).stack}`);
    }
  }
  assert.ok(good > 100, `only ${good} inputs were good`);
  assert.ok(performance.now() - started < 60_000);
});
