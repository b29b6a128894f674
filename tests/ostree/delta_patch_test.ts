import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Patcher } from "../../lib/ostree/delta_patch.ts";
import { PatchMaker } from "../../lib/ostree/delta_patch_write.ts";
import { BytesInMemory } from "../../lib/ostree/part_bytes.ts";
import { Rng } from "../fuzz/_mutate.ts";
import { concat, MemorySource } from "./_delta_memory.ts";

function noise(rng: Rng, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, () => rng.next());
}

/** As a compiler does it to a program: something new in the middle, addresses that have moved. */
function recompiled(rng: Rng, program: Uint8Array): Uint8Array {
  const half = program.length >> 1;
  const out = concat(program.subarray(0, half), noise(rng, 77), program.subarray(half));
  for (let at = half; at < out.length; at += 40 + rng.next() % 64) out[at]! += 16;
  return out;
}

function applied(patch: Uint8Array, old: Uint8Array, size: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  const used = new Patcher().apply(new BytesInMemory(patch), new MemorySource(old), {
    size,
    write: (bytes) => pieces.push(bytes.slice()),
  });
  assert.equal(used, patch.length);
  return concat(...pieces);
}

Deno.test("PatchMaker makes patches that lead to the new content", async (t) => {
  const rng = new Rng(11);
  const program = noise(rng, 300_000);
  const maker = new PatchMaker();
  const cases: [name: string, old: Uint8Array, fresh: Uint8Array, literals: number][] = [
    ["a program", program, recompiled(rng, program), 77 + 100],
    ["the same", program, program, 0],
    ["more at the end", program, concat(program, noise(rng, 500)), 500],
    ["more at the start", program, concat(noise(rng, 500), program), 500 + 50],
    ["less", program, program.subarray(1000, 200_000), 0],
    [
      "parts that changed places",
      program,
      concat(program.subarray(200_000), program.subarray(0, 200_000)),
      0,
    ],
  ];
  for (const [name, old, fresh, literals] of cases) {
    await t.step(name, () => {
      const patch = maker.make(old, fresh)!;
      assert.ok(Buffer.from(applied(patch, old, fresh.length)).equals(fresh));
      const zeros = patch.reduce((sum, byte) => sum + (byte === 0 ? 1 : 0), 0);
      const changed = fresh.length / 60;
      assert.ok(patch.length - zeros < literals + changed, `${patch.length - zeros} bytes`);
    });
  }
  for (
    const [name, old, fresh] of [["nothing in common", program, noise(rng, 5000)], [
      "nothing to build upon",
      new Uint8Array(0),
      program,
    ]] as const
  ) {
    await t.step(name, () => assert.equal(maker.make(old, fresh), undefined));
  }
});
