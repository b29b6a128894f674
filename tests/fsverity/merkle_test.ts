import assert from "node:assert/strict";
import { ALGORITHMS, nodeHash, toHex } from "../../lib/base/mod.ts";
import { fsVerityDigest, FsVerityHasher } from "../../lib/fsverity/mod.ts";
import cases from "../../fixtures/fsverity/fsverity.json" with { type: "json" };

/** The content rule of the fixture: `byte i is (i*7 + (i>>8)*13 + (i>>16)*101) & 0xff`. */
function content(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.max(size, 128));
  for (let i = 0; i < size; i++) bytes[i] = (i * 7 + (i >> 8) * 13 + (i >> 16) * 101) & 0xff;
  return bytes.subarray(0, size);
}

const KINDS = [
  ["fsverity-sha256-12", "sha256", 12],
  ["fsverity-sha512-12", "sha512", 12],
  ["fsverity-sha256-16", "sha256", 16],
  ["fsverity-sha512-16", "sha512", 16],
] as const;

Deno.test("fsVerityDigest() equals the fsverity tool's digests", async (t) => {
  for (const row of cases.cases) {
    await t.step(`${row.size} bytes`, () => {
      const bytes = content(row.size);
      for (const [name, hash, lgBlockSize] of KINDS) {
        const options = { algorithm: ALGORITHMS[hash], provider: nodeHash, lgBlockSize };
        assert.equal(toHex(fsVerityDigest(bytes, options)), row[name], name);
      }
    });
  }
});

Deno.test("fsVerityDigest() of a small buffer equals the fsverity tool's", () => {
  const bytes = new TextEncoder().encode("hello world");
  for (const [name, hash, lgBlockSize] of KINDS) {
    const options = { algorithm: ALGORITHMS[hash], provider: nodeHash, lgBlockSize };
    assert.equal(toHex(fsVerityDigest(bytes, options)), cases["hello world"][name]);
  }
});

Deno.test("FsVerityHasher gives the same digest however the content is cut, and can be reused", () => {
  const hasher = new FsVerityHasher(ALGORITHMS.sha256, nodeHash);
  const row = cases.cases.find((c) => c.size > 524288 && c.size < 1048576) ?? cases.cases.at(-1)!;
  const bytes = content(row.size);
  for (const piece of [1, 4095, 4096, 4097, 65536]) {
    if (piece === 1 && row.size > 600_000) continue;
    for (let at = 0; at < bytes.length; at += piece) {
      hasher.updateRange(bytes, at, Math.min(at + piece, bytes.length));
    }
    assert.equal(hasher.size, row.size);
    assert.equal(toHex(hasher.digest()), row["fsverity-sha256-12"], `pieces of ${piece}`);
  }
});
