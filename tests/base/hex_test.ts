import assert from "node:assert/strict";
import { fromHex, toHex, writeHex } from "../../lib/base/mod.ts";

const BYTES = Uint8Array.of(0x00, 0x09, 0x0a, 0x7f, 0x80, 0xff);
const HEX = "00090a7f80ff";

Deno.test("Bytes become lower-case hex, either case becomes bytes", () => {
  assert.equal(toHex(BYTES), HEX);
  assert.equal(toHex(BYTES, 2, 5), "0a7f80");
  assert.equal(toHex(BYTES, 3, 3), "");
  assert.deepEqual(fromHex(HEX), BYTES);
  assert.deepEqual(fromHex(HEX.toUpperCase()), BYTES);
  const out = new Uint8Array(8).fill(1);
  writeHex("beef", out, 5);
  assert.deepEqual([...out], [1, 1, 1, 1, 1, 0xbe, 0xef, 1]);
});

Deno.test("What is no hex, or has no room, is refused", async (t) => {
  const cases: [string, number, RegExp][] = [
    ["abc", 0, /3 digits does not fit/],
    ["abcdef", 6, /6 digits does not fit/],
    ["ab0g", 0, /Invalid hex digit at position 2/],
    ["a b0", 0, /Invalid hex digit at position 0/],
    ["00é0", 0, /Invalid hex digit at position 2/],
    ["0000\n0", 0, /Invalid hex digit at position 4/],
  ];
  for (const [hex, offset, message] of cases) {
    await t.step(JSON.stringify(hex), () => {
      assert.throws(
        () => writeHex(hex, new Uint8Array(8), offset),
        (error) => error instanceof RangeError && message.test(error.message),
      );
    });
  }
});
