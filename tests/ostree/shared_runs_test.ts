import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sharedRuns } from "../../lib/ostree/shared_runs.ts";
import { Rng } from "../fuzz/_mutate.ts";

function noise(size: number, seed: number): Uint8Array {
  const rng = new Rng(seed);
  return Uint8Array.from({ length: size }, () => rng.below(256));
}

/** The new content made again from runs; returns how much was not shared. */
function rebuild(old: Uint8Array, fresh: Uint8Array): number {
  const out = new Uint8Array(fresh.length);
  let at = 0;
  let literal = 0;
  for (const run of sharedRuns(old, fresh)) {
    assert.ok(run.at >= at && run.length > 0);
    out.set(fresh.subarray(at, run.at), at);
    literal += run.at - at;
    assert.ok(run.from + run.length <= old.length);
    out.set(old.subarray(run.from, run.from + run.length), run.at);
    at = run.at + run.length;
  }
  assert.ok(at <= fresh.length);
  out.set(fresh.subarray(at), at);
  literal += fresh.length - at;
  assert.ok(Buffer.from(out).equals(fresh));
  return literal;
}

Deno.test("sharedRuns() finds what is the same", async (t) => {
  const [a, b, c] = [noise(10_000, 1), noise(10_000, 2), noise(700, 3)];
  const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
  const cases: [string, Uint8Array, Uint8Array, number][] = [
    ["the same", a, a, 0],
    ["nothing", a, b, b.length],
    ["empty old", new Uint8Array(0), a, a.length],
    ["empty new", a, new Uint8Array(0), 0],
    ["something in front", a, join(c, a), c.length],
    ["something behind", a, join(a, c), c.length],
    ["something between", join(a, b), join(a, c, b), c.length],
    ["another order", join(a, b), join(b, a), 0],
    ["another order and something between", join(a, b), join(b, c, a), c.length],
    ["twice", a, join(a, c, a), c.length],
    ["without its beginning", join(c, a), a, 0],
    ["zeros", new Uint8Array(50_000), join(a, new Uint8Array(40_000)), a.length],
    ["too little to be worth it", a.subarray(0, 50), join(a.subarray(0, 50), b), 50 + b.length],
  ];
  for (const [name, old, fresh, most] of cases) {
    await t.step(name, () => assert.ok(rebuild(old, fresh) <= most, String(rebuild(old, fresh))));
  }
});

Deno.test("sharedRuns() gives back the new content, whatever it is", () => {
  const rng = new Rng(5);
  for (let i = 0; i < 500; i++) {
    // Few values, so that blocks are equal by chance as well.
    const old = Uint8Array.from({ length: rng.below(4000) }, () => rng.below(1 + i % 3));
    const pieces: Uint8Array[] = [];
    for (let j = rng.below(6); j >= 0; j--) {
      const from = rng.below(old.length + 1);
      pieces.push(old.subarray(from, from + rng.below(2000)));
      pieces.push(Uint8Array.from({ length: rng.below(100) }, () => rng.below(256)));
    }
    rebuild(old, new Uint8Array(Buffer.concat(pieces)));
  }
});

Deno.test("sharedRuns() takes its time only where that helps", () => {
  // Blocks with equal hashes everywhere that never match to their end.
  const old = new Uint8Array(4 * 1024 * 1024);
  const fresh = new Uint8Array(4 * 1024 * 1024);
  for (let at = 0; at < fresh.length; at += 500) fresh[at] = 1;
  const start = performance.now();
  rebuild(old, fresh);
  assert.ok(performance.now() - start < 5000);
});
