import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { FormatError, nodeHash, type ObjectId } from "../../lib/base/mod.ts";
import { ContentIndex, ContentIndexBuilder } from "../../lib/chunked/mod.ts";
import { mutate, Rng, seed } from "../fuzz/_mutate.ts";

const digest = (text: string) => Uint8Array.from(createHash("sha256").update(text).digest());
const object = (n: number) => n.toString(16).padStart(64, "0") as ObjectId;
const OPTIONS = { digestSize: 32, hash: nodeHash };

function build(count: number): Uint8Array<ArrayBuffer> {
  const builder = new ContentIndexBuilder(32);
  for (let i = 0; i < count; i++) {
    builder.file(digest(`file ${i}`), { object: object(i), size: 100 + i });
    builder.chunk(digest(`chunk ${i}`), { object: object(i), offset: 2 ** 33 + i, size: 50 + i });
    builder.small(digest(`small ${i}`), new TextEncoder().encode(`small ${i}`));
  }
  return builder.finish(nodeHash);
}

Deno.test("ContentIndex finds everything that was put in, by digest and size", () => {
  for (const count of [0, 1, 2, 100]) {
    const index = new ContentIndex(build(count), OPTIONS);
    for (let i = 0; i < count; i++) {
      assert.equal(index.file(digest(`file ${i}`), 100 + i), object(i));
      assert.equal(index.file(digest(`file ${i}`), 101 + i), undefined);
      assert.deepEqual(index.chunk(digest(`chunk ${i}`), 50 + i), {
        object: object(i),
        offset: 2 ** 33 + i,
      });
      assert.equal(index.chunk(digest(`chunk ${i}`), 49), undefined);
      const text = `small ${i}`;
      const found = index.small(digest(text), text.length);
      assert.equal(new TextDecoder().decode(found), text);
      assert.equal(index.small(digest(text), 3), undefined);
    }
    assert.equal(index.file(digest("other"), 100), undefined);
    assert.equal(index.chunk(digest("other"), 50), undefined);
    assert.equal(index.small(digest("other"), 7), undefined);
  }
});

Deno.test("ContentIndex is the same whatever the order", () => {
  const builder = new ContentIndexBuilder(32);
  builder.file(digest("a"), { object: object(1), size: 1 });
  builder.file(digest("b"), { object: object(1), size: 1 });
  const other = new ContentIndexBuilder(32);
  other.file(digest("b"), { object: object(1), size: 1 });
  other.file(digest("a"), { object: object(1), size: 1 });
  assert.deepEqual(builder.finish(nodeHash), other.finish(nodeHash));
});

Deno.test(`ContentIndex refuses what is damaged, or of other repositories (SEED=${seed()})`, () => {
  const good = build(5);
  assert.throws(() => new ContentIndex(good, { ...OPTIONS, digestSize: 64 }), FormatError);
  const rng = new Rng(seed());
  for (let round = 0; round < 2000; round++) {
    const bad = mutate(good, rng);
    if (bad.length === good.length && bad.every((byte, i) => byte === good[i])) continue;
    assert.throws(() => new ContentIndex(bad, OPTIONS), FormatError);
    // Also where somebody has made the digest fit: no faults but typed ones, and no lies in sizes.
    const end = Math.max(0, bad.length - 32);
    const check = nodeHash.stream("sha256");
    check.update(bad.subarray(0, end));
    bad.set(check.digest().subarray(0, bad.length - end), end);
    try {
      const index = new ContentIndex(bad, OPTIONS);
      index.file(digest("file 1"), 101);
      index.chunk(digest("chunk 1"), 51);
      index.small(digest("small 1"), 7);
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error));
    }
  }
});
