import assert from "node:assert/strict";
import { objectPath } from "../../lib/base/mod.ts";
import { parseDumpfile } from "../../lib/dumpfile/mod.ts";
import {
  detectHash,
  filterRoot,
  findObjectUsers,
  listEntries,
  type ListEntriesOptions,
  listImageObjects,
  listObjects,
  openImage,
  readTree,
  writeImage,
} from "../../lib/erofs/mod.ts";
import { countLinks } from "../../lib/tree/mod.ts";
import { describeTree, fixture, fixtureText } from "./_fixtures.ts";

const HAND = fixture("tools/hand.v1.img.gz");

/** Parses dumpfile lines. */
function tree(lines: readonly string[], dialect: "rs" | "c" = "rs") {
  return parseDumpfile(new TextEncoder().encode(lines.join("\n") + "\n"), { dialect });
}

Deno.test("ls gives the lines of the peers", async (t) => {
  const cases: [file: string, options: ListEntriesOptions][] = [
    ["hand.ls.cfsctl.txt", {}],
    ["hand.ls.c.txt", { dialect: "c" }],
    ["hand.ls-filter-etc-run.txt", { filter: ["etc", "run"] }],
  ];
  for (const [file, options] of cases) {
    await t.step(file, () => {
      const text = [...listEntries(readTree(openImage(HAND)), options)].join("");
      assert.equal(text, fixtureText(`tools/${file}`));
    });
  }
});

Deno.test("objects are those that the peers list", () => {
  const ids = listImageObjects(HAND);
  const text = ids.map((id) => `${objectPath(id)}\n`).join("");
  assert.equal(text, fixtureText("tools/hand.objects.cfsctl.txt"));
  assert.equal(text, fixtureText("tools/hand.objects.c.txt"));
});

Deno.test("the dump of an image holds the tree that ours reads", () => {
  const ours = readTree(openImage(HAND));
  const theirs = parseDumpfile(fixture("tools/hand.dump.cfsctl.txt"));
  // The peer loses the mark of this directory.
  const lost = (line: string) => line.replace('["trusted.overlay.opaque","y"]', "");
  assert.deepEqual(describeTree(ours).map(lost), describeTree(theirs));
  const theirsC = parseDumpfile(fixture("tools/hand.dump.c.txt"), { dialect: "c" });
  assert.deepEqual(describeTree(ours), describeTree(theirsC));
});

Deno.test("a filter keeps entries of the root, and the link counts of what it keeps", () => {
  const filtered = filterRoot(readTree(openImage(HAND)), ["etc", "run", "nowhere"]);
  const theirs = parseDumpfile(fixture("tools/hand.dump-filter-etc-run.c.txt"), { dialect: "c" });
  assert.deepEqual(describeTree(filtered), describeTree(theirs));
  const counts = [...countLinks(filtered).keys()].map((leaf) => filtered.notes?.get(leaf)?.nlink);
  assert.deepEqual(counts.filter((nlink) => nlink !== undefined).sort(), [2, 2, 3]);
  const all = readTree(openImage(HAND));
  assert.equal(filterRoot(all, []), all);
});

const A = "a1".repeat(32);
const B = "b2".repeat(32);
const C = "c3".repeat(64);

function pathOf(id: string): string {
  return `${id.slice(0, 2)}/${id.slice(2)}`;
}

Deno.test("files with a redirect but no digest are listed, as they are needed", async (t) => {
  for (const version of [0, 1, 2] as const) {
    await t.step(`format ${version}`, () => {
      const lines = [
        "/ 0 40755 3 0 0 0 1.0 - - -",
        `/a 9 100644 2 0 0 0 1.0 ${pathOf(B)} - -`,
        "/d 0 40755 2 0 0 0 1.0 - - -",
        `/d/e 9 100644 1 0 0 0 1.0 ${pathOf(A)} - ${A}`,
        "/d/l 0 @120000 - - - - 0.0 /a - -",
        "/s 5 100644 1 0 0 0 1.0 - - -",
      ];
      const image = openImage(writeImage(tree(lines), { version, hash: "sha256" }));
      assert.deepEqual(listObjects(image), [A, B]);
      assert.deepEqual(
        [...listEntries(readTree(image))],
        [`/a\t@ ${pathOf(B)}\n`, "/d/\t\n", `/d/e\t@ ${pathOf(A)}\n`, "/d/l\n", "/s\n"],
      );
    });
  }
});

Deno.test("redirects that are not the path of the digest are kept in the notes", () => {
  const lines = [
    "/ 0 40755 2 0 0 0 1.0 - - -",
    `/a 9 100644 1 0 0 0 1.0 foo/bar - ${A}`,
    `/b 9 100644 1 0 0 0 1.0 - - ${B}`,
    "/c 9 100644 1 0 0 0 1.0 foo/baz - -",
    `/d 9 100644 1 0 0 0 1.0 x/${pathOf(A)} - ${A}`,
  ];
  const bytes = writeImage(tree(lines, "c"), { version: 1, hash: "sha256", dialect: "c" });
  const read = readTree(openImage(bytes));
  const notes = [...read.root.entries].map(([name, node]) => {
    assert.equal(node.kind, "leaf");
    return [name, read.notes?.get(node)?.redirect];
  });
  assert.deepEqual(notes, [["a", "foo/bar"], ["b", null], ["c", "foo/baz"], [
    "d",
    `x/${pathOf(A)}`,
  ]]);
  assert.deepEqual([...listEntries(read)], [
    "/a\t@ foo/bar\n",
    `/b\t@ ${pathOf(B)}\n`,
    "/c\t@ foo/baz\n",
    `/d\t@ x/${pathOf(A)}\n`,
  ]);
  assert.deepEqual(writeImage(read, { version: 1, hash: "sha256", dialect: "c" }), bytes);
});

Deno.test("the hash function of an image with redirects only is that of their length", () => {
  const lines = (id: string) => [
    "/ 0 40755 2 0 0 0 1.0 - - -",
    `/a 9 100644 1 0 0 0 1.0 ${pathOf(id)} - -`,
  ];
  for (const [hash, id] of [["sha256", A], ["sha512", C]] as const) {
    const source = tree(lines(A));
    const leaf = source.root.entries.get("a")!;
    assert.equal(leaf.kind, "leaf");
    if (leaf.kind === "leaf") {
      leaf.content = { type: "external-no-verity", digest: id as never, size: 9 };
    }
    const image = openImage(writeImage(source, { version: 1, hash }));
    assert.equal(detectHash(image), hash);
    assert.deepEqual(listObjects(image), [id]);
    assert.deepEqual(describeTree(readTree(image)), describeTree(source));
  }
});

Deno.test("a user is found for each object that is asked for", () => {
  const image = openImage(HAND);
  const [first, second, ...rest] = listObjects(image);
  const users = findObjectUsers(image, new Set([first!, second!, A as never]));
  assert.deepEqual([...users].sort(), [[first, "/usr/f4097"], [second, "/usr/f4096"]]);
  assert.equal(findObjectUsers(image, new Set(rest)).size, rest.length);
  assert.equal(findObjectUsers(image, new Set()).size, 0);
});

Deno.test("objects are sorted and unique however many share their first bytes", () => {
  const ids: string[] = [];
  for (let i = 0; i < 300; i++) {
    ids.push("00000000" + String(i * 7919 % 300).padStart(56, "0"));
    ids.push((i * 2654435761 % 2 ** 32).toString(16).padStart(8, "0") + "11".repeat(28));
  }
  const lines = ["/ 0 40755 2 0 0 0 1.0 - - -"];
  ids.forEach((id, i) => {
    lines.push(`/f${i} 99 100644 1 0 0 0 1.0 ${pathOf(id)} - ${id}`);
    if (i % 3 === 0) lines.push(`/g${i} 99 100644 1 0 0 0 1.0 ${pathOf(id)} - ${id}`);
  });
  const image = openImage(writeImage(tree(lines), { version: 2, hash: "sha256" }));
  assert.deepEqual(listObjects(image), [...new Set(ids)].sort());
});
