import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "npm:fast-check@4.10.0";
import {
  ALGORITHMS,
  InvalidNameError,
  nodeZstd,
  type ObjectId,
  parseObjectId,
} from "../../lib/base/mod.ts";
import { CONTENT_TYPE, openSplitstream, SplitstreamWriter } from "../../lib/splitstream/mod.ts";

const options = {
  algorithm: ALGORITHMS.sha256,
  contentType: CONTENT_TYPE.ociLayer,
  codec: nodeZstd,
};

function id(n: number): ObjectId {
  return parseObjectId(n.toString(16).padStart(64, "0"));
}

type Part = Buffer | number;

/** Reads back: inline runs merged, externals as their number. */
function parts(file: Uint8Array): Part[] {
  const stream = openSplitstream(file, options);
  const out: Part[] = [];
  let run: Uint8Array[] = [];
  const close = () => {
    if (run.length > 0) out.push(Buffer.concat(run));
    run = [];
  };
  for (const chunk of stream.chunks()) {
    if (chunk.type === "inline") run.push(chunk.bytes.slice());
    else {
      close();
      out.push(Number(`0x${stream.objectRefs.id(chunk.index)}`));
    }
  }
  close();
  return out;
}

Deno.test("What SplitstreamWriter writes is read back, and adjacent inline bytes do not matter", () => {
  const part = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 5 }));
  fc.assert(
    fc.property(fc.array(part, { maxLength: 60 }), fc.integer({ min: 1, max: 50 }), (list, cut) => {
      const whole = new SplitstreamWriter(options);
      const pieces = new SplitstreamWriter(options);
      let run: Uint8Array[] = [];
      let size = 0;
      const expected: Part[] = [];
      const flush = () => {
        const bytes = Buffer.concat(run);
        run = [];
        whole.addInline(bytes);
        if (bytes.length > 0) expected.push(bytes);
      };
      for (const item of list) {
        if (typeof item === "number") {
          flush();
          expected.push(item);
          whole.addExternal(id(item), item);
          pieces.addExternal(id(item), item);
          size += item;
        } else {
          run.push(item);
          size += item.length;
          for (let at = 0; at < item.length; at += cut) {
            pieces.addInline(item.subarray(at, at + cut));
          }
        }
      }
      flush();
      const file = whole.finish();
      assert.deepEqual(pieces.finish(), file);
      assert.deepEqual(parts(file), expected);
      assert.equal(openSplitstream(file, options).streamSize, BigInt(size));
    }),
    { numRuns: 300 },
  );
});

Deno.test("An inline run beyond the stage gives the same file as its text compressed at once", async (t) => {
  const MIB = 2 ** 20;
  const noise = Buffer.alloc(MIB);
  for (let i = 0, x = 1; i < MIB; i++) noise[i] = (x = Math.imul(x, 69069) + 1) >>> 24;
  for (const mebibytes of [1, 15, 17, 40]) {
    for (const offset of [0, 5]) {
      await t.step(`${mebibytes} MiB after ${offset} externals`, () => {
        using writer = new SplitstreamWriter(options);
        const text: Buffer[] = [];
        for (let i = 0; i < offset; i++) {
          writer.addExternal(id(0), 1);
          text.push(Buffer.alloc(8));
        }
        const length = Buffer.alloc(8);
        length.writeBigInt64LE(BigInt(-mebibytes * MIB));
        text.push(length);
        for (let i = 0; i < mebibytes; i++) {
          noise.fill(i, 0, MIB / 2);
          writer.addInline(noise);
          text.push(Buffer.from(noise));
        }
        writer.addExternal(id(0), 1);
        text.push(Buffer.alloc(8));
        const file = writer.finish();
        const stream = nodeZstd.compress(Buffer.concat(text));
        assert.ok(stream.length > 1000);
        assert.ok(Buffer.from(file.subarray(file.length - stream.length)).equals(stream));
      });
    }
  }
});

Deno.test("SplitstreamWriter keeps references in order of first use and names sorted", () => {
  const writer = new SplitstreamWriter(options);
  assert.equal(writer.addObjectRef(id(9)), 0);
  writer.addExternal(id(8), 10);
  writer.addExternal(id(9), 10);
  assert.equal(writer.addObjectRef(id(7)), 2);
  writer.addNamedRef("z", id(1));
  writer.addNamedRef("\u{1f600}", id(2));
  writer.addNamedRef("\uffee", id(3));
  writer.addNamedRef("a:b", id(1));
  writer.addNamedRef("z", id(2));
  assert.deepEqual([...writer.objectRefs], [id(9), id(8), id(7)]);
  assert.equal(writer.externalCount, 2);
  const stream = openSplitstream(writer.finish(), options);
  assert.deepEqual([...stream.objectRefs], [id(9), id(8), id(7)]);
  assert.deepEqual([...stream.streamRefs], [id(1), id(2), id(3)]);
  // By the bytes of UTF-8, where U+FFEE comes before U+1F600 although its first unit is higher.
  assert.deepEqual([...stream.namedRefs], [
    ["a:b", id(1)],
    ["z", id(2)],
    ["\uffee", id(3)],
    ["\u{1f600}", id(2)],
  ]);
  assert.equal(stream.streamSize, 20n);
});

Deno.test("SplitstreamWriter holds no more than it may, in one run or in many", async (t) => {
  const noise = new Uint8Array(1 << 20);
  const renew = () => {
    for (let at = 0; at < noise.length; at += 65_536) {
      crypto.getRandomValues(noise.subarray(at, at + 65_536));
    }
  };
  for (const runs of [false, true]) {
    await t.step(runs ? "many" : "one", () => {
      const limit = 20 << 20;
      using writer = new SplitstreamWriter({ ...options, limit });
      assert.throws(() => {
        for (let i = 0; i < 1000; i++) {
          renew();
          writer.addInline(noise);
          if (runs) writer.addExternal(id(1), 1);
        }
      }, { name: "UnsupportedError", message: /takes more than 20971520 bytes, compressed/ });
      // The stage is what may come on top.
      assert.ok(writer.inlineSize <= limit + (17 << 20), `${writer.inlineSize} bytes were taken`);
    });
  }
  await t.step("at the end", () => {
    using writer = new SplitstreamWriter({ ...options, limit: 1000 });
    writer.addInline(noise.subarray(0, 1000));
    assert.throws(() => writer.finish(), { name: "UnsupportedError" });
  });
});

Deno.test("SplitstreamWriter refuses what it cannot write", () => {
  using writer = new SplitstreamWriter(options);
  assert.throws(() => writer.addNamedRef("a\0b", id(1)), InvalidNameError);
  assert.throws(() => writer.addExternal("ab".repeat(64) as ObjectId, 1), RangeError);
});
