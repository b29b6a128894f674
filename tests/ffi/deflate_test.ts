import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { deflateRawSync } from "node:zlib";
import { addressable, WholeInflater } from "../../ffi/mod.ts";
import { RawInflater } from "../../lib/ostree/raw_inflate.ts";
import { Rng } from "../fuzz/_mutate.ts";
import "../helpers/libraries.ts";
import { need, testWith } from "../helpers/needs.ts";

const known = WholeInflater.open();
const library = need(known !== undefined, "libdeflate");
known?.[Symbol.dispose]();

const rng = new Rng(11);
const CONTENTS: [name: string, content: Uint8Array][] = [
  ["a byte", Uint8Array.of(7)],
  ["text", new TextEncoder().encode("all work and no play ".repeat(5000))],
  ["noise", Uint8Array.from({ length: 70_000 }, () => rng.below(256))],
  ["zeros", new Uint8Array(3_000_000)],
];

function carve(bytes: Uint8Array): Uint8Array {
  const out = addressable(bytes.length);
  out.set(bytes);
  return out;
}

testWith({
  name: "WholeInflater unpacks what zlib packed, and tells what does not fit or is damaged",
  needs: [library],
  async fn(t) {
    using inflater = WholeInflater.open()!;
    for (const [name, content] of CONTENTS) {
      await t.step(name, () => {
        for (const level of [0, 1, 9]) {
          const packed = carve(deflateRawSync(content, { level }));
          const output = addressable(content.length + 1);
          assert.equal(inflater.inflate(packed, output), content.length);
          assert.ok(Buffer.from(content).equals(output.subarray(0, content.length)));
          assert.equal(inflater.inflate(packed, output.subarray(0, content.length - 1)), -1);
          assert.equal(inflater.inflate(packed.subarray(0, packed.length - 1), output), -1);
          const more = carve(Buffer.concat([packed, Uint8Array.of(1, 2, 3)]));
          assert.equal(inflater.inflate(more, output), content.length);
        }
      });
    }
    assert.equal(inflater.inflate(carve(Uint8Array.of(255, 255, 255)), addressable(100)), -1);
  },
});

testWith({
  name: "WholeInflater takes damaged streams without harm",
  needs: [library],
  fn() {
    using inflater = WholeInflater.open()!;
    const room = addressable(200_000 + 64);
    const output = room.subarray(0, 200_000);
    for (const [, content] of CONTENTS.slice(0, 3)) {
      const packed = carve(deflateRawSync(content));
      for (let i = 0; i < 1000; i++) {
        const damaged = carve(packed);
        damaged[rng.below(damaged.length)]! ^= 1 << rng.below(8);
        const made = inflater.inflate(damaged.subarray(0, rng.below(damaged.length) + 1), output);
        assert.ok(made >= -1 && made <= output.length);
        assert.ok(room.subarray(output.length).every((byte) => byte === 0));
      }
    }
  },
});

testWith({
  name: "WholeInflater is of no use, and does no harm, when its memory was given back",
  needs: [library],
  fn() {
    const inflater = WholeInflater.open()!;
    const packed = carve(deflateRawSync(Uint8Array.of(7)));
    inflater[Symbol.dispose]();
    inflater[Symbol.dispose]();
    assert.throws(() => inflater.inflate(packed, addressable(100)), { name: "TypeError" });
  },
});

Deno.test("RawInflater.all() gives the same by either way, and zlib's error", async (t) => {
  using inflater = new RawInflater();
  for (const [name, content] of CONTENTS) {
    await t.step(name, () => {
      const packed = deflateRawSync(content);
      // Native code cannot be given a small buffer: V8 may move it.
      for (const input of [carve(packed), new Uint8Array(packed)]) {
        for (const size of [content.length + 1, content.length, content.length - 1]) {
          const output = new Uint8Array(size);
          assert.equal(inflater.all(input, output), Math.min(size, content.length));
          if (size >= content.length) {
            assert.ok(Buffer.from(content).equals(output.subarray(0, content.length)));
          }
        }
        // What there is of one that is cut off.
        const cut = inflater.all(input.subarray(0, input.length - 2), new Uint8Array(1e7));
        assert.ok(cut <= content.length);
      }
    });
  }
  const bad = carve(Uint8Array.of(255, 255, 255, 255));
  assert.throws(() => inflater.all(bad, new Uint8Array(100)), { name: "FormatError" });
});
