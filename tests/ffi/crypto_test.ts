import assert from "node:assert/strict";
import { ALGORITHMS, type HashName, nodeHash, toHex } from "../../lib/base/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import { addressable, loadCrypto, systemHash } from "../../ffi/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { need, testWith } from "../helpers/needs.ts";

loadNative();
const crypto = loadCrypto();

testWith({
  name: "libcrypto and node:crypto give equal digests",
  needs: [need(crypto !== undefined, "libcrypto.so.3")],
  fn: async (t) => {
    for (const name of ["sha256", "sha512"] as HashName[]) {
      await t.step(name, () => {
        const data = addressable(3 * 4096 + 100);
        for (let i = 0; i < data.length; i++) data[i] = (i * 31) % 256;
        const theirs = addressable(200);
        const ours = addressable(200);
        const cases = [[0, 0], [0, 1], [5, 63], [1, 64], [4096, 4096], [7, 4097], [0, 12388]];
        for (const [offset, length] of cases) {
          crypto!.block(name).hash(data, offset!, length!, ours, 100);
          nodeHash.block(name).hash(data, offset!, length!, theirs, 100);
          assert.equal(toHex(ours), toHex(theirs), `${offset} ${length}`);
          const a = crypto!.stream(name);
          a.update(data.subarray(offset, offset! + length!));
          assert.equal(toHex(a.digest()), toHex(ours, 100, 100 + crypto!.block(name).size));
        }
        const provider = crypto!;
        assert.equal(
          objectIdOf(data, { algorithm: ALGORITHMS[name], provider }),
          objectIdOf(data, { algorithm: ALGORITHMS[name], provider: nodeHash }),
        );
      });
    }
  },
});

Deno.test("systemHash() is chosen once, and refuses outputs that V8 may move", () => {
  assert.equal(systemHash(), systemHash());
  if (systemHash() === nodeHash) return;
  assert.equal(systemHash().implementation, "libcrypto");
  const data = addressable(10);
  assert.throws(
    () => systemHash().block("sha256").hash(data, 0, 10, new Uint8Array(32), 0),
    RangeError,
  );
  assert.throws(
    () => systemHash().block("sha256").hash(new Uint8Array(10), 0, 10, addressable(32), 0),
    RangeError,
  );
});
