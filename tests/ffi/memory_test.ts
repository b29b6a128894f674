import assert from "node:assert/strict";
import {
  addressable,
  addressOf,
  cBytes,
  cPath,
  forgetAddress,
  openPath,
  pread,
  showPath,
} from "../../ffi/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { loadNative } from "../helpers/native.ts";

loadNative();

function memory(address: number, length: number): Uint8Array {
  const pointer = Deno.UnsafePointer.create(BigInt(address))!;
  return new Uint8Array(new Deno.UnsafePointerView(pointer).getArrayBuffer(length)).slice();
}

Deno.test("addressOf() refuses buffers that V8 may move", () => {
  for (const length of [0, 1, 64]) {
    assert.throws(() => addressOf(new Uint8Array(length)), RangeError);
  }
  assert.ok(addressOf(new Uint8Array(65)) > 0);
  // A small view of a big buffer is fine.
  assert.ok(addressOf(new Uint8Array(new ArrayBuffer(100), 90, 1)) > 0);
});

Deno.test("addressOf() follows buffers through changes, views and transfers", () => {
  const a = addressable(10);
  const b = addressable(5000);
  a.fill(1);
  b.fill(2);
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(memory(addressOf(a), 3), new Uint8Array([1, 1, 1]));
    assert.deepEqual(memory(addressOf(b.subarray(100)), 3), new Uint8Array([2, 2, 2]));
  }
  assert.equal(addressOf(b.subarray(100)) - addressOf(b), 100);
  const before = addressOf(b);
  const moved = new Uint8Array(structuredClone(b.buffer, { transfer: [b.buffer] }));
  forgetAddress();
  assert.throws(() => addressOf(b), RangeError, "a transferred buffer has no address");
  assert.equal(memory(addressOf(moved), 1)[0], 2);
  assert.ok(before > 0);
});

Deno.test("addresses stay right while the garbage collector moves things", () => {
  using dir = new TempDir();
  dir.write("file", "0123456789".repeat(1000));
  using fd = openPath(dir.join("file"));
  const buffer = addressable(100);
  const garbage: Uint8Array[] = [];
  for (let i = 0; i < 20_000; i++) {
    garbage.push(new Uint8Array(32));
    if (garbage.length > 500) garbage.length = 0;
    assert.equal(pread(fd, buffer, i % 10), 100);
    assert.equal(buffer[0], 48 + i % 10);
  }
});

const paths: { path: string | Uint8Array; bytes: number[] }[] = [
  { path: "", bytes: [0] },
  { path: "abc", bytes: [97, 98, 99, 0] },
  { path: "aé", bytes: [97, 0xc3, 0xa9, 0] },
  { path: "é\u{1f600}", bytes: [0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 0] },
  { path: new Uint8Array([0xff, 0x61]), bytes: [0xff, 0x61, 0] },
];

Deno.test("cPath() writes text as UTF-8, bytes as they are", async (t) => {
  for (const { path, bytes } of paths) {
    await t.step(JSON.stringify(path), () => {
      assert.deepEqual([...memory(cPath(path), bytes.length)], bytes);
    });
  }
  const [one, two] = [cPath("one", 0), cPath("two", 1)];
  assert.deepEqual([...memory(one, 4)], [111, 110, 101, 0], "slots do not overwrite each other");
  assert.deepEqual([...memory(two, 4)], [116, 119, 111, 0]);
  const long = "x".repeat(65536);
  assert.equal(memory(cPath(long), 65537).indexOf(0), 65536);
});

Deno.test("cPath() and cBytes() refuse what a path cannot be", () => {
  assert.throws(() => cPath("a\0b"), TypeError);
  assert.throws(() => cPath("é\0b"), TypeError);
  assert.throws(() => cPath(new Uint8Array([1, 0, 2])), TypeError);
  assert.throws(() => cPath("x".repeat(65537)), RangeError);
  assert.throws(() => cPath("é".repeat(40000)), RangeError);
  assert.throws(() => cBytes("a\0"), TypeError);
  assert.throws(() => cBytes("\u0100"), TypeError);
  assert.throws(() => cBytes("x".repeat(65537)), RangeError);
  assert.deepEqual([...memory(cBytes("\xff\x80a"), 4)], [0xff, 0x80, 97, 0]);
  assert.equal(showPath(new TextEncoder().encode("/é")), "/é");
});
