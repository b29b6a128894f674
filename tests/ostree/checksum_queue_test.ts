/** Checksums pass between threads once each, whoever takes them. */
import assert from "node:assert/strict";
import { Pool } from "../../lib/base/mod.ts";
import { type Checksum, checksumOf } from "../../lib/ostree/checksum.ts";
import { ChecksumQueue } from "../../lib/ostree/checksum_queue.ts";

function checksum(i: number): Checksum {
  return checksumOf(new TextEncoder().encode(String(i)));
}

Deno.test("checksums come out in order, once each, with their positions", () => {
  const queue = new ChecksumQueue();
  assert.equal(queue.take(3), undefined);
  for (let i = 0; i < 5; i++) assert.equal(queue.add(checksum(i)), true);
  assert.deepEqual(queue.take(3), { first: 0, checksums: [0, 1, 2].map(checksum) });
  const other = new ChecksumQueue(queue.memory);
  assert.deepEqual(other.waitAndTake(3), { first: 3, checksums: [3, 4].map(checksum) });
  queue.close();
  assert.equal(other.waitAndTake(1), undefined);
});

Deno.test("a full queue takes nothing more until something is taken, and its ring goes round", () => {
  const queue = new ChecksumQueue();
  const some = Array.from({ length: 7 }, (_, i) => checksum(i));
  let added = 0;
  while (queue.add(some[added % 7]!)) added++;
  assert.ok(added >= 1000);
  const end = 3 * added;
  for (let taken = 0; taken < end;) {
    const { first, checksums } = queue.take(1000)!;
    assert.equal(first, taken);
    for (const one of checksums) assert.equal(one, some[taken++ % 7]);
    for (let i = 0; i < checksums.length; i++) assert.ok(queue.add(some[added++ % 7]!));
  }
});

Deno.test("positions go round like the ring does", () => {
  for (const start of [2 ** 31 - 3, 2 ** 32 - 3]) {
    const queue = new ChecksumQueue();
    new Int32Array(queue.memory.control).fill(start | 0, 0, 2); // as if so many had come and gone
    let added = 0;
    while (added < 6) assert.ok(queue.add(checksum(added++)));
    assert.deepEqual(queue.take(2), { first: start, checksums: [0, 1].map(checksum) });
    assert.deepEqual(queue.take(9), { first: start + 2, checksums: [2, 3, 4, 5].map(checksum) });
    const next = (start + 6) % 2 ** 32;
    const one = checksum(1);
    while (queue.add(one)) added++;
    assert.equal(added, 6 + 65_536);
    assert.deepEqual(queue.take(1), { first: next, checksums: [one] });
    assert.ok(queue.add(one) && !queue.add(one));
  }
});

Deno.test("nothing can be taken from a queue that was given up", () => {
  const queue = new ChecksumQueue();
  queue.add(checksum(1));
  queue.giveUp();
  assert.equal(queue.take(1), undefined);
  assert.equal(queue.waitAndTake(1), undefined);
  queue.close();
  assert.equal(queue.take(1), undefined);
});

Deno.test("threads that wait share what is added meanwhile", async () => {
  const queue = new ChecksumQueue();
  await using pool = new Pool(new URL("./_queue_worker.ts", import.meta.url), { size: 2 });
  const takers = [0, 1].map(() => pool.run<number[]>("take", queue.memory));
  const count = 20_000;
  for (let i = 0; i < count; i++) {
    while (!queue.add(checksum(i))) await new Promise((resolve) => setTimeout(resolve, 1));
    if (i % 1000 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  queue.close();
  const taken = (await Promise.all(takers)).flat();
  assert.equal(taken.length, count);
  assert.deepEqual(taken.toSorted((a, b) => a - b), Array.from({ length: count }, (_, i) => i));
});
