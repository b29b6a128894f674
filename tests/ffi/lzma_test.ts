import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FormatError } from "../../lib/base/mod.ts";
import { lzma } from "../../ffi/mod.ts";
import "../helpers/libraries.ts";
import { need, needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";

const library = need(lzma() !== undefined, "liblzma");
const text = new TextEncoder().encode("all work and no play ".repeat(5000));

testWith({
  name: "Lzma.decompress() reads what Lzma.compress() wrote",
  needs: [library],
  fn() {
    for (const data of [text, new Uint8Array(0), Uint8Array.of(1), new Uint8Array(3_000_000)]) {
      for (const preset of [0, 6, 9]) {
        const packed = lzma()!.compress(data, preset);
        assert.ok(packed.length < data.length || data.length < 100);
        const plain = lzma()!.decompress(packed, data.length);
        assert.ok(Buffer.from(plain).equals(data));
      }
    }
  },
});

testWith({
  name: "Lzma and xz(1) read each other",
  needs: [library, needTool("xz")],
  async fn() {
    const theirs = await runOk(["xz", "-9c"], { stdin: text });
    assert.ok(Buffer.from(lzma()!.decompress(theirs.stdoutBytes, 1e6)).equals(text));
    const blocks = await runOk(["xz", "-c", "--block-size=10000"], { stdin: text });
    assert.ok(Buffer.from(lzma()!.decompress(blocks.stdoutBytes, 1e6)).equals(text));
    const ours = await runOk(["xz", "-dc"], { stdin: lzma()!.compress(text) });
    assert.ok(Buffer.from(ours.stdoutBytes).equals(text));
    const greedy = await runOk(["xz", "-c", "--lzma2=dict=1GiB"], { stdin: text });
    assert.throws(() => lzma()!.decompress(greedy.stdoutBytes, 1e6), {
      message: "Decompressing xz failed: too much memory needed",
    });
  },
});

testWith({
  name: "Lzma.decompress() bounds the result before there is room for it",
  needs: [library],
  fn() {
    const packed = lzma()!.compress(text);
    assert.throws(() => lzma()!.decompress(packed, text.length - 1), FormatError);
    // The index announces the size of the whole; one that lies is noticed.
    const size = [0xa8, 0xb4, 0x06]; // 105000, seven bits a byte
    const at = packed.findLastIndex((_, i) => size.every((byte, j) => packed[i + j] === byte));
    assert.ok(at > packed.length - 40);
    for (const last of [0x01, 0x07, 0x7f]) {
      const lying = packed.slice();
      lying[at + 2] = last;
      assert.throws(() => lzma()!.decompress(lying, 1e9), FormatError);
    }
    for (const end of [0, 11, 12, 13, packed.length - 4, packed.length - 1]) {
      assert.throws(() => lzma()!.decompress(packed.subarray(0, end), 1e6), FormatError);
    }
  },
});

/** A stream's content, by pieces of `size` bytes. */
function unpacked(packed: Uint8Array, size: number, limit: number): Buffer {
  function* pieces() {
    for (let at = 0; at < packed.length; at += size) yield packed.subarray(at, at + size);
  }
  return Buffer.concat(
    Array.from(lzma()!.decompressPieces(pieces(), limit), (piece) => piece.slice()),
  );
}

testWith({
  name: "Lzma.decompressPieces() gives what comes in pieces of any size",
  needs: [library],
  fn() {
    const noise = crypto.getRandomValues(new Uint8Array(50_000));
    // The last ones fill the pieces that come out, with nothing left over.
    const sizes = [0, 1, 1 << 18, 1 << 19, (1 << 18) + 1].map((size) => new Uint8Array(size));
    for (const data of [text, noise, ...sizes]) {
      const packed = lzma()!.compress(data);
      for (const size of [1, 7, 1000, packed.length]) {
        if (size < 7 && packed.length > 2000) continue;
        assert.ok(unpacked(packed, size, data.length).equals(data));
      }
      if (data.length > 0) {
        assert.throws(() => unpacked(packed, 1000, data.length - 1), FormatError);
      }
      const end = packed.length;
      for (const cut of [0, 5, 20, end - 13, end - 1]) {
        assert.throws(() => unpacked(packed.subarray(0, cut), 100, 1e7), FormatError);
      }
      const more = Uint8Array.from([...packed, 0, 0, 0, 0]);
      for (const size of [4, end, end + 4]) {
        if (end > 2000 && size < 100) continue;
        assert.throws(() => unpacked(more, size, 1e7), FormatError);
      }
      const changed = packed.slice();
      changed[end >> 1]! ^= 1;
      assert.throws(() => unpacked(changed, 1000, 1e7), FormatError);
    }
  },
});
