import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { FormatError, ZSTD_EMPTY_FRAME } from "../../lib/base/mod.ts";
import type { Compression } from "../../lib/transport/media_types.ts";
import { unpack } from "../../lib/transport/unpack.ts";

function joined(...parts: (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Unpacks bytes that come in pieces of a size, all in one buffer as files are read. */
async function unpacked(bytes: Uint8Array, compression: Compression, size: number) {
  function* pieces() {
    const buffer = new Uint8Array(size);
    for (let at = 0; at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size);
      buffer.set(piece);
      yield buffer.subarray(0, piece.length);
      buffer.fill(0xee);
    }
  }
  const out: number[] = [];
  for await (const piece of unpack(pieces(), compression)) out.push(...piece);
  return new TextDecoder().decode(Uint8Array.from(out));
}

const TEXT = "layer ".repeat(500);
const SKIPPABLE = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];

Deno.test("unpack() takes all members and frames, in pieces of any size", async (t) => {
  const half = (from: number, to: number) => new TextEncoder().encode(TEXT.slice(from, to));
  const rows: [Compression, Uint8Array][] = [
    ["none", half(0, 3000)],
    ["gzip", joined(gzipSync(half(0, 1000)), gzipSync(half(0, 0)), gzipSync(half(1000, 3000)))],
    [
      "zstd",
      joined(
        SKIPPABLE,
        zstdCompressSync(half(0, 1000)),
        ZSTD_EMPTY_FRAME,
        SKIPPABLE,
        zstdCompressSync(half(1000, 3000)),
        ZSTD_EMPTY_FRAME,
      ),
    ],
  ];
  for (const [compression, bytes] of rows) {
    for (const size of [1, 7, 18, 1 << 16]) {
      await t.step(`${compression}, ${size} bytes at a time`, async () => {
        assert.equal(await unpacked(bytes, compression, size), TEXT);
        const cut = bytes.subarray(0, bytes.length - 1);
        if (compression !== "none") {
          await assert.rejects(unpacked(cut, compression, size), FormatError);
        }
      });
    }
  }
});

Deno.test("unpack() does not take long over frames with nothing in them", async () => {
  const count = 100_000;
  const bytes = new Uint8Array(count * ZSTD_EMPTY_FRAME.length);
  for (let i = 0; i < count; i++) bytes.set(ZSTD_EMPTY_FRAME, i * ZSTD_EMPTY_FRAME.length);
  const started = performance.now();
  assert.equal(await unpacked(bytes, "zstd", 1 << 18), "");
  // One decompressor for all takes half a second; one for each frame took twenty.
  assert.ok(performance.now() - started < 10_000);
});
