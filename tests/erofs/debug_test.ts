import assert from "node:assert/strict";
import { debugImage } from "../../lib/erofs/mod.ts";
import { fixture, fixtureNames, fixtureText } from "./_fixtures.ts";

/** The image that a dump is of. */
function imageOf(name: string): Uint8Array {
  if (name === "hand.v1") return fixture("tools/hand.v1.img.gz");
  const own = fixtureNames("debug/", ".img.gz").includes(name);
  return own ? fixture(`debug/${name}.img.gz`) : fixture(`images/${name}.img`);
}

Deno.test("debug dumps equal those of the reference", async (t) => {
  for (const name of fixtureNames("debug/", ".txt.gz")) {
    await t.step(name, () => {
      const text = [...debugImage(imageOf(name))].join("");
      assert.equal(text, fixtureText(`debug/${name}.txt.gz`));
    });
  }
});

Deno.test("a debug dump needs none of the rules of composefs", () => {
  const bytes = fixture("images/empty.v2.sha256.img");
  bytes[0] = 0;
  assert.match([...debugImage(bytes)].join(""), /^00000000 ComposefsHeader\n {6}\+0 {5}magic/);
  assert.throws(() => [...debugImage(bytes.subarray(0, 1000))], {
    message: "Invalid image: image too small for superblock",
  });
});

Deno.test("a debug dump does not take blocks of one byte", () => {
  const bytes = fixture("images/empty.v2.sha256.img");
  bytes[1036] = 0;
  assert.throws(() => [...debugImage(bytes)], {
    message: "Invalid image: block size 1 is too small",
  });
});
