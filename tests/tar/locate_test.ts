import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { locateTarMembers } from "../../lib/tar/mod.ts";
import { content, END, gnuLong, header } from "../helpers/make_tar.ts";

/** The members of an archive in memory, with their contents. */
function located(...parts: Buffer[]): string[] {
  const archive = Buffer.concat(parts);
  const read = (buffer: Uint8Array, offset: number) => {
    const piece = archive.subarray(offset, offset + buffer.length);
    buffer.set(piece);
    return piece.length;
  };
  return [...locateTarMembers(read, archive.length)].map(({ path, type, offset, size, target }) =>
    `${type} ${path} ${
      type === "file" ? archive.toString("latin1", offset, offset + size) : target
    }`
  );
}

const big = "content ".repeat(20);

Deno.test("locateTarMembers() finds contents of any size, and links", () => {
  const members = located(
    header({ name: "./blobs/", type: "5" }),
    header({ name: "./small", size: 3 }),
    content("abc"),
    header({ name: "/empty" }),
    gnuLong("L", `blobs/${"x".repeat(200)}`),
    header({ name: "cut", size: big.length }),
    content(big),
    header({ name: "hard", type: "1", link: "small" }),
    header({ name: "soft", type: "2", link: "small" }),
    END,
  );
  assert.deepEqual(members, [
    "file small abc",
    "file empty ",
    `file blobs/${"x".repeat(200)} ${big}`,
    "hardlink hard small",
    "symlink soft small",
  ]);
});

Deno.test("locateTarMembers() leaves out what has a longer name than a file can have", () => {
  const longest = "n".repeat(4096);
  const members = located(
    gnuLong("L", longest),
    header({ name: "cut" }),
    gnuLong("L", `${"./".repeat(2048)}short`),
    header({ name: "cut", size: big.length }),
    content(big),
    gnuLong("K", `${longest}n`),
    header({ name: "link", type: "1", link: "cut" }),
    header({ name: "after", size: 3 }),
    content("abc"),
    END,
  );
  assert.deepEqual(members, [`file ${longest} `, "file after abc"]);
});
