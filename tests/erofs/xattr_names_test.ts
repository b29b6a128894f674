import assert from "node:assert/strict";
import { escapeOverlay, splitXattrName, xattrFilterBit } from "../../lib/erofs/xattr_names.ts";
import { xxh32 } from "../../lib/erofs/xxh32.ts";

Deno.test("xxh32() gives the published values", async (t) => {
  const cases: [string, number, number][] = [
    ["", 0, 0x02cc5d05],
    ["a", 0, 0x550d7456],
    ["abc", 0, 0x32d153ff],
    ["Nobody inspects the spammish repetition", 0, 0xe2293b2f],
  ];
  for (const [text, seed, hash] of cases) {
    await t.step(text, () => assert.equal(xxh32(text, seed), hash));
  }
});

Deno.test("xattrFilterBit() gives the kernel's bits", async (t) => {
  // Specification 4.4.
  const cases: [number, string, number][] = [
    [4, "overlay.metacopy", 31],
    [4, "overlay.redirect", 17],
    [4, "overlay.opaque", 20],
    [1, "foo", 12],
    [6, "selinux", 11],
    [2, "", 30],
    [3, "", 21],
  ];
  for (const [index, suffix, bit] of cases) {
    await t.step(`${index} ${suffix}`, () => {
      assert.equal(xattrFilterBit(index, suffix), 2 ** bit);
    });
  }
});

Deno.test("splitXattrName() and escapeOverlay() treat names as images do", () => {
  const split = (name: string, lustre = false) => {
    const { index, suffix } = splitXattrName(name, { lustre });
    return [index, suffix];
  };
  assert.deepEqual(split("user.a"), [1, "a"]);
  assert.deepEqual(split("user"), [0, "user"]);
  assert.deepEqual(split("system.posix_acl_accessX"), [2, "X"]);
  assert.deepEqual(split("lustre.x"), [0, "lustre.x"]);
  assert.deepEqual(split("lustre.x", true), [5, "x"]);
  assert.deepEqual(split("security."), [6, ""]);
  assert.equal(escapeOverlay("trusted.overlay.a"), "trusted.overlay.overlay.a");
  assert.equal(escapeOverlay("trusted.overlay.overlay.a"), "trusted.overlay.overlay.overlay.a");
  assert.equal(escapeOverlay("user.overlay.a"), "user.overlay.a");
});
