import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { inflateRawSync } from "node:zlib";
import { RawDeflater } from "../../lib/ostree/raw_deflate.ts";
import { Rng } from "../fuzz/_mutate.ts";

Deno.test("RawDeflater packs one content after the other", async (t) => {
  const rng = new Rng(3);
  const noise = Uint8Array.from({ length: 700_000 }, () => rng.below(256));
  const contents: [string, Uint8Array][] = [
    ["nothing", new Uint8Array(0)],
    ["a byte", Uint8Array.of(7)],
    ["noise", noise],
    ["zeros", new Uint8Array(3_000_000)],
    ["noise again", noise.subarray(5)],
    ["text", new TextEncoder().encode("all work and no play ".repeat(50_000))],
  ];
  // Noise of sizes at which what is packed fills the pieces that come out.
  for (let size = 262_000; size < 262_200; size += 13) {
    contents.push([`noise of ${size} bytes`, noise.subarray(0, size)]);
  }
  using deflater = new RawDeflater();
  for (const [name, content] of contents) {
    await t.step(name, () => {
      for (const step of [1 << 20, 100_001]) {
        const pieces: Uint8Array[] = [];
        for (let at = 0; at < content.length; at += step) {
          pieces.push(content.subarray(at, at + step));
        }
        const packed = Array.from(
          deflater.pack(pieces, content.length),
          (piece) => piece.slice(),
        );
        assert.ok(inflateRawSync(Buffer.concat(packed)).equals(content));
      }
    });
  }
  await t.step("after one that was not packed to its end", () => {
    for (const _ of deflater.pack([noise, noise], 2 * noise.length)) break;
    const packed = Buffer.concat(Array.from(deflater.pack([Uint8Array.of(1, 2)], 2)));
    assert.deepEqual([...inflateRawSync(packed)], [1, 2]);
  });
});
