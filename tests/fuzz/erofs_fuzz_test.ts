import assert from "node:assert/strict";
import { ComposefsError, type HashName } from "../../lib/base/mod.ts";
import {
  checkStructure,
  debugImage,
  findObjectUsers,
  listEntries,
  listObjects,
  openImage,
  readTree,
  writeImage,
} from "../../lib/erofs/mod.ts";
import { fixture, fixtureNames } from "../erofs/_fixtures.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const COUNT = 20_000;
/** Milliseconds that one image may take. */
const LIMIT = 1000;
/** A dump of a hostile image may be long: only its beginning is wanted. */
const MAX_PIECES = 20_000;

/** The seed stands in the names of the tests, so that a run can be repeated. */
const START = seed();

/** What is done to every mutated image; a value or a ComposefsError is right. */
const ACTIONS: readonly [name: string, run: (bytes: Uint8Array, hash: HashName) => unknown][] = [
  ["readTree", (bytes, hash) => {
    const tree = readTree(openImage(bytes), { hash });
    for (const line of listEntries(tree)) assert.ok(line.endsWith("\n"));
    return tree;
  }],
  ["checkStructure", (bytes) => checkStructure(openImage(bytes))],
  ["listObjects", (bytes, hash) => {
    const image = openImage(bytes);
    const ids = listObjects(image, { hash, structure: false });
    assert.ok(ids.every((id, i) => i === 0 || ids[i - 1]! < id), "sorted and unique");
    if (ids.length > 0) findObjectUsers(image, new Set(ids));
    return ids;
  }],
  ["debugImage", (bytes) => {
    let pieces = 0;
    for (const _ of debugImage(bytes)) if (++pieces === MAX_PIECES) break;
    return pieces;
  }],
];

/** The error of an action, if it failed as it should. */
function failure(run: () => unknown): ComposefsError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof ComposefsError) return error;
    throw error;
  }
}

Deno.test(`${COUNT} mutated images give a value or a ComposefsError (SEED=${START})`, () => {
  const rng = new Rng(START);
  const images = fixtureNames("images/", ".img").map((name) => fixture(`images/${name}.img`));
  images.push(fixture("tools/hand.v1.img.gz"), fixture("debug/promoted.img.gz"));
  let read = 0;
  let refused = 0;
  for (let i = 0; i < COUNT; i++) {
    const base = rng.pick(images);
    const bytes = mutateImage(base, rng);
    const hash: HashName = rng.oneIn(4) ? "sha512" : "sha256";
    for (const [name, run] of ACTIONS) {
      const started = performance.now();
      let error: ComposefsError | undefined;
      try {
        error = failure(() => run(bytes, hash));
      } catch (cause) {
        throw new Error(`SEED=${START}, image ${i}, ${name}`, { cause });
      }
      let took = performance.now() - started;
      if (took >= LIMIT) {
        // On a busy machine the process may just not have had its turn.
        const again = performance.now();
        failure(() => run(bytes, hash));
        took = Math.min(took, performance.now() - again);
      }
      assert.ok(took < LIMIT, `SEED=${START}, image ${i}, ${name}: ${took} ms`);
      if (name !== "readTree") continue;
      if (error === undefined) read++;
      else refused++;
    }
  }
  // Both outcomes must be common, or the mutations test nothing.
  assert.ok(read > COUNT / 20 && refused > COUNT / 20, `${read} read, ${refused} refused`);
});

/** Mutations that keep the places of things reach deeper than those that move them. */
function mutateImage(base: Uint8Array, rng: Rng): Uint8Array<ArrayBuffer> {
  if (rng.oneIn(4)) return mutate(base, rng);
  const bytes = Uint8Array.from(base);
  // Most of an image is padding: aim at what is not zero.
  for (let count = 1 + rng.below(6); count > 0;) {
    const at = rng.below(bytes.length);
    if (bytes[at] === 0 && !rng.oneIn(50)) continue;
    bytes[at] = rng.oneIn(2) ? rng.next() : bytes[at]! ^ (1 << rng.below(8));
    count--;
  }
  return bytes;
}

Deno.test(`what a mutated image gives can be written again (SEED=${START})`, () => {
  const rng = new Rng(START + 1);
  const bases = ["mix.v1.sha256", "mix.v2.sha256", "hardlinks.v0.sha256"]
    .map((name) => fixture(`images/${name}.img`));
  let written = 0;
  for (let i = 0; i < 2000; i++) {
    const bytes = mutateImage(rng.pick(bases), rng);
    failure(() => {
      const image = openImage(bytes);
      const tree = readTree(image, { hash: "sha256" });
      const again = writeImage(tree, { version: image.version, hash: "sha256" });
      readTree(openImage(again), { hash: "sha256" });
      written++;
    });
  }
  assert.ok(written > 100, `${written} images were written again`);
});
