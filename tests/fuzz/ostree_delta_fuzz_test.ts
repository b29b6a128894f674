import assert from "node:assert/strict";
import { ComposefsError, FormatError } from "../../lib/base/mod.ts";
import {
  type Checksum,
  encodeMetadata,
  openDeltaEnvelope,
  parseDeltaIndex,
  parseDeltaSuperblock,
  Variant,
} from "../../lib/ostree/mod.ts";
import { runDeltaPart } from "../../lib/ostree/delta_machine.ts";
import { DeltaPart } from "../../lib/ostree/delta_part.ts";
import { Patcher } from "../../lib/ostree/delta_patch.ts";
import type { DeltaPartEntry } from "../../lib/ostree/delta_superblock.ts";
import { unxz, unxzAnywhere } from "../../lib/ostree/delta_xz.ts";
import { BytesInMemory } from "../../lib/ostree/part_bytes.ts";
import { MemorySink, MemorySource, noScratch } from "../ostree/_delta_memory.ts";
import "../helpers/libraries.ts";
import { ROOT } from "../helpers/run.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const FIXTURES = `${ROOT}fixtures/ostree/deltas`;
const ROUNDS = 20_000;
const XZ_ROUNDS = 500;
const SLOWEST = 1000;

/** Runs something that must end soon, with a value or a typed error; counts what came of it. */
function outcome(counts: { values: number; errors: number }, run: () => void): void {
  const start = performance.now();
  try {
    run();
    counts.values++;
  } catch (error) {
    assert.ok(error instanceof ComposefsError, String((error as Error).stack));
    counts.errors++;
  }
  assert.ok(performance.now() - start < SLOWEST);
}

async function plainPart(name: string): Promise<[DeltaPartEntry, Uint8Array]> {
  const delta = parseDeltaSuperblock(Deno.readFileSync(`${FIXTURES}/${name}/superblock`));
  const entry = delta.parts[0]!;
  const packed = entry.inline?.data ?? Deno.readFileSync(`${FIXTURES}/${name}/0`).subarray(1);
  const plain = await unxz(new BytesInMemory(packed), 1 << 20, noScratch);
  return [entry, plain.get(0, plain.size)];
}

const SUPERBLOCKS: [string, string[], (bytes: Uint8Array) => void][] = [
  ["superblocks", ["std/superblock", "big/superblock", "inline/superblock"], parseDeltaSuperblock],
  [
    "signed superblocks",
    ["signed-inline.superblock"],
    (bytes) => parseDeltaSuperblock(openDeltaEnvelope(bytes).superblock),
  ],
];

for (const [name, files, parse] of SUPERBLOCKS) {
  Deno.test(`${name}: ${ROUNDS} changed ones, seed ${seed()}`, () => {
    refuseChanged(files.map((file) => Deno.readFileSync(`${FIXTURES}/${file}`)), parse);
  });
}

Deno.test(`delta indexes: ${ROUNDS} changed ones, seed ${seed()}`, () => {
  const index = encodeMetadata([[
    "ostree.static-deltas",
    new Variant("a{sv}", [["ab".repeat(32), new Variant("ay", new Uint8Array(32))]]),
  ]]);
  refuseChanged([index], parseDeltaIndex);
});

function refuseChanged(inputs: readonly Uint8Array[], parse: (bytes: Uint8Array) => void): void {
  const rng = new Rng(seed());
  const counts = { values: 0, errors: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    outcome(counts, () => parse(mutate(rng.pick(inputs), rng)));
  }
  assert.ok(counts.values > 0 && counts.errors > ROUNDS / 4, JSON.stringify(counts));
}

Deno.test(`parts: ${ROUNDS} changed ones, seed ${seed()}`, async () => {
  const rng = new Rng(seed());
  const [std, scratch] = [await plainPart("std"), await plainPart("scratch")];
  const base = { open: (_: Checksum) => new MemorySource(new Uint8Array(100_000)) };
  const patcher = new Patcher();
  const counts = { values: 0, errors: 0 };
  let made = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const [entry, bytes] = round % 50 === 0 ? scratch : std;
    // Operations are at the end: most changes are made there.
    const keep = rng.oneIn(4) ? 0 : bytes.length - 400;
    const changed = mutate(bytes.subarray(keep), rng);
    const part = new Uint8Array(keep + changed.length);
    part.set(bytes.subarray(0, keep));
    part.set(changed, keep);
    const sink = new MemorySink();
    outcome(counts, () => {
      try {
        runDeltaPart(entry, new DeltaPart(part), { base, sink, patcher });
      } finally {
        assert.equal(sink.pending, 0);
        made += sink.meta.size;
      }
    });
  }
  // The base is not the real one, so that no part comes out as a whole.
  assert.ok(counts.errors > ROUNDS / 2 && made > ROUNDS, JSON.stringify({ ...counts, made }));
});

Deno.test(`patches: ${ROUNDS} changed ones, seed ${seed()}`, () => {
  const rng = new Rng(seed());
  const view = new DataView(new ArrayBuffer(24 * 4 + 3 * 20));
  let at = 0;
  for (const numbers of [[10, 10, -5], [0, 20, 90], [20, 0, 0], [0, 0, 3]]) {
    for (const number of numbers) {
      view.setBigUint64(at, BigInt(Math.abs(number)) + (number < 0 ? 2n ** 63n : 0n), true);
      at += 8;
    }
    at += numbers[0]! + numbers[1]!;
  }
  const patch = new Uint8Array(view.buffer);
  const source = new MemorySource(new Uint8Array(64));
  const patcher = new Patcher();
  const counts = { values: 0, errors: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const size = rng.oneIn(2) ? 60 : rng.below(200);
    let written = 0;
    outcome(counts, () => {
      patcher.apply(new BytesInMemory(mutate(patch, rng)), source, {
        size,
        write: (bytes) => written += bytes.length,
      });
      assert.equal(written, size);
    });
    assert.ok(written <= size);
  }
  assert.ok(counts.values > 1000 && counts.errors > 1000, JSON.stringify(counts));
});

Deno.test(`xz: ${XZ_ROUNDS} changed ones, seed ${seed()}`, async () => {
  const rng = new Rng(seed());
  const packed = Deno.readFileSync(`${FIXTURES}/std/0`).subarray(1);
  let errors = 0;
  for (let round = 0; round < XZ_ROUNDS; round++) {
    const start = performance.now();
    try {
      const decompress = round % 2 === 0 ? unxz : unxzAnywhere;
      const changed = new BytesInMemory(mutate(packed, rng));
      assert.ok((await decompress(changed, 1 << 20, noScratch)).size <= 1 << 20);
    } catch (error) {
      assert.ok(error instanceof FormatError, String((error as Error).stack));
      errors++;
    }
    assert.ok(performance.now() - start < SLOWEST);
  }
  assert.ok(errors > XZ_ROUNDS / 2, String(errors));
});
