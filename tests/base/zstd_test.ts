import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { constants, zstdCompressSync } from "node:zlib";
import {
  createNodeZstd,
  FormatError,
  frameLength,
  fromHex,
  nodeZstd,
  toHex,
  ZSTD_PIECE,
  type ZstdCodec,
  zstdFrame,
  zstdPieces,
} from "../../lib/base/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";

const CODECS: [string, ZstdCodec][] = [
  ["stepped", nodeZstd],
  ["documented functions only", createNodeZstd({ documentedOnly: true })],
];

/** Data of changing character: runs, noise, text, repeats of what was. */
function varied(length: number): Uint8Array<ArrayBuffer> {
  const rng = new Rng(seed());
  const out = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const end = Math.min(length, at + 1 + rng.below(3000));
    const kind = rng.below(4);
    const from = rng.below(at + 1);
    for (let i = at; i < end; i++) {
      out[i] = kind === 0
        ? rng.next()
        : kind === 1
        ? 0
        : kind === 2
        ? 97 + rng.below(4)
        : out[from + (i - at)]!;
    }
    at = end;
  }
  return out;
}

function plain(codec: ZstdCodec, section: Uint8Array, limit = Infinity): Buffer {
  const pieces: Uint8Array[] = [];
  for (const piece of zstdPieces(codec, section, { limit })) {
    assert.ok(piece.length > 0 && piece.length <= ZSTD_PIECE);
    pieces.push(piece.slice());
  }
  return Buffer.concat(pieces);
}

const BLOCK = 2 ** 17;
const SIZES = [1, 8, 300, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, ZSTD_PIECE, 5_000_000];

Deno.test("compressor() gives one frame that does not depend on the pieces", async (t) => {
  const data = varied(5_000_000);
  for (const size of SIZES) {
    await t.step(`${size} bytes`, () => {
      const bytes = data.subarray(0, size);
      const whole = nodeZstd.compress(bytes);
      assert.equal(toHex(whole, 0, 6), "28b52ffd0058");
      assert.equal(frameLength(whole), whole.length);
      for (const [name, codec] of CODECS) {
        for (const piece of [1000, 65536, 300_000, size]) {
          using compressor = codec.compressor();
          for (let at = 0; at < size; at += piece) {
            compressor.push(bytes.subarray(at, Math.min(size, at + piece)));
          }
          const result = Buffer.concat(compressor.finish());
          assert.ok(result.equals(whole), `${name}, pieces of ${piece}`);
        }
        assert.ok(plain(codec, whole).equals(bytes), name);
      }
    });
  }
});

Deno.test("compressor() gives the nine-byte frame for empty input", () => {
  for (const [, codec] of CODECS) {
    assert.equal(toHex(codec.compress(new Uint8Array(0))), "28b52ffd2000010000");
    assert.equal(plain(codec, codec.compress(new Uint8Array(0))).length, 0);
  }
});

Deno.test("compressor() can be given up", () => {
  using compressor = nodeZstd.compressor();
  compressor.push(new Uint8Array(1000));
  compressor[Symbol.dispose]();
  compressor[Symbol.dispose]();
});

const SKIPPABLE = fromHex("5a2a4d1803000000aabbcc");

Deno.test("zstdPieces() reads all frames, and nothing but frames", async (t) => {
  const text = Buffer.from("hello world, hello world, hello world");
  const frame = nodeZstd.compress(text);
  const checked = zstdCompressSync(text, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
  const sized = Buffer.concat([fromHex("28b52ffd2025290100"), text]);
  const good: [string, Uint8Array, string][] = [
    ["one frame", frame, `${text}`],
    ["two frames", Buffer.concat([frame, frame]), `${text}${text}`],
    ["a skippable frame in front", Buffer.concat([SKIPPABLE, frame]), `${text}`],
    ["a skippable frame behind", Buffer.concat([frame, SKIPPABLE]), `${text}`],
    ["only a skippable frame", SKIPPABLE, ""],
    ["a checksum", checked, `${text}`],
    ["a content size", sized, `${text}`],
  ];
  const damaged = Uint8Array.from(checked);
  damaged[damaged.length - 1]! ^= 1;
  const bad: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(0), /^incomplete frame$/],
    ["a wrong checksum", damaged, /checksum|corrupt/i],
    ["no checksum though announced", checked.subarray(0, checked.length - 4), /^incomplete frame$/],
    [
      "garbage behind",
      Buffer.concat([frame, Buffer.from("garbage")]),
      /^Unknown frame descriptor$/,
    ],
    ["a byte behind", Buffer.concat([frame, Buffer.from("x")]), /^incomplete frame$/],
    ["a skippable frame cut off", SKIPPABLE.subarray(0, 10), /^incomplete frame$/],
    ["a skippable header cut off", SKIPPABLE.subarray(0, 7), /^incomplete frame$/],
    ["a second frame cut off", Buffer.concat([frame, frame.subarray(0, 9)]), /^incomplete frame$/],
    ["a window of 2^41 bytes", fromHex("28b52ffd00f8010000"), /too much memory/],
    ["a window above 2^27 bytes", fromHex("28b52ffd0089010000"), /too much memory/],
    ["a content size above 2^27 bytes", fromHex("28b52ffda001000008010000"), /too much memory/],
    ["a reserved bit", fromHex("28b52ffd0858010000"), /^Unsupported frame parameter$/],
    ["a reserved block type", fromHex("28b52ffd0058070000"), /^Data corruption detected$/],
  ];
  for (const [codecName, codec] of CODECS) {
    for (const [name, section, expected] of good) {
      await t.step(`${codecName}: ${name}`, () => {
        assert.equal(plain(codec, section).toString(), expected);
      });
    }
    for (const [name, section, message] of bad) {
      await t.step(`${codecName}: ${name}`, () => {
        assert.throws(
          () => plain(codec, section),
          (error) => error instanceof FormatError && message.test(error.message),
        );
      });
    }
  }
  await t.step("every cut of a frame is incomplete", () => {
    for (let end = 0; end < frame.length; end++) {
      assert.throws(() => zstdFrame(frame.subarray(0, end)), { message: "incomplete frame" });
    }
  });
});

Deno.test("zstdPieces() stops at the limit without decoding the rest", () => {
  // 1 GiB of zeros in 32 KiB.
  const blocks = 8192;
  const bomb = Buffer.alloc(6 + 4 * blocks);
  bomb.set(fromHex("28b52ffd0058"));
  for (let i = 0; i < blocks; i++) {
    bomb.writeUIntLE(BLOCK * 8 + 2 + (i === blocks - 1 ? 1 : 0), 6 + 4 * i, 3);
  }
  const started = performance.now();
  assert.throws(() => plain(nodeZstd, bomb, 3_000_000), { message: /exceeds 3000000 bytes/ });
  assert.ok(performance.now() - started < 500);
});

Deno.test("A decompressor that is left in the middle gives its memory back", () => {
  const section = nodeZstd.compress(varied(3_000_000));
  const { rss: before } = Deno.memoryUsage();
  for (let i = 0; i < 300; i++) {
    for (const piece of zstdPieces(nodeZstd, section, { limit: Infinity })) {
      assert.ok(piece.length > 0);
      break;
    }
  }
  assert.ok(Deno.memoryUsage().rss - before < 256_000_000);
});
