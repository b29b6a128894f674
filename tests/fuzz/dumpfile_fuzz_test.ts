import assert from "node:assert/strict";
import { ComposefsError } from "../../lib/base/mod.ts";
import { formatDumpfile, parseDumpfile } from "../../lib/dumpfile/mod.ts";
import { writeImage } from "../../lib/erofs/mod.ts";
import { fixture, fixtureNames } from "../erofs/_fixtures.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const COUNT = 20_000;
/** Time for one input, in milliseconds. */
const LIMIT = 1000;

/** Small fixtures of every kind; the big ones would only make the runs slow. */
function inputs(): Uint8Array[] {
  const paths = [
    ...fixtureNames("cases", ".dump").map((name) => `cases/${name}.dump`),
    ...fixtureNames("trees", ".dump").map((name) => `trees/${name}.dump`),
  ];
  return paths.map(fixture).filter((bytes) => bytes.length < 10_000);
}

function formatted(bytes: Uint8Array, dialect: "rs" | "c"): string {
  return [...formatDumpfile(parseDumpfile(bytes, { dialect }))].join("");
}

Deno.test(`a dumpfile of any bytes gives a tree or an error, seed ${seed()}`, () => {
  const rng = new Rng(seed());
  const all = inputs();
  let accepted = 0;
  let written = 0;
  for (let i = 0; i < COUNT; i++) {
    const bytes = mutate(rng.pick(all), rng);
    const dialect = rng.oneIn(2) ? "rs" : "c";
    const start = performance.now();
    try {
      const tree = parseDumpfile(bytes, { dialect });
      accepted++;
      const text = [...formatDumpfile(tree)].join("");
      // What was formatted reads back the same.
      const again = formatted(new TextEncoder().encode(text), dialect);
      assert.equal(again, text, `input ${i}`);
      writeImage(tree, { version: rng.pick([0, 1, 2]), hash: "sha256", dialect });
      written++;
    } catch (error) {
      if (!(error instanceof ComposefsError)) {
        throw new Error(`Input ${i} of seed ${seed()} failed`, { cause: error });
      }
    }
    const took = performance.now() - start;
    assert.ok(took < LIMIT, `input ${i} took ${took} ms`);
  }
  // Mutations that nothing survives would test nothing.
  assert.ok(accepted > COUNT / 50 && written > COUNT / 100, `${accepted}, ${written}`);
});
