import assert from "node:assert/strict";
import {
  countLinks,
  Directory,
  type FileTree,
  findDirectory,
  hasWhiteout,
  Leaf,
  lookupDirectory,
  lookupLeaf,
  lookupNode,
  lookupRegularFile,
  mergeEntry,
  NO_XATTRS,
  type Stat,
  validateTree,
} from "../../lib/tree/mod.ts";

function stat(mode: number): Stat {
  return { mode, uid: 0, gid: 0, mtimeSec: 1n, mtimeNsec: 0, xattrs: NO_XATTRS };
}

/** `/d/f` and `/d/g` are one file, `/d/l` is a link. */
function sample(): { tree: FileTree; d: Directory; file: Leaf; link: Leaf } {
  const root = new Directory(stat(0o755));
  const d = new Directory(stat(0o755));
  const file = new Leaf(stat(0o644), { type: "inline", data: new Uint8Array(1) });
  const link = new Leaf(stat(0o777), { type: "symlink", target: "f" });
  root.entries.set("d", d);
  d.entries.set("g", file).set("f", file).set("l", link);
  return { tree: { root }, d, file, link };
}

Deno.test("lookups find what is there", () => {
  const { tree, d, file, link } = sample();
  assert.equal(lookupDirectory(tree.root, "/"), tree.root);
  assert.equal(lookupDirectory(tree.root, ""), tree.root);
  assert.equal(lookupDirectory(tree.root, "//d/"), d);
  assert.equal(findDirectory(tree.root, "d"), d);
  assert.equal(findDirectory(tree.root, "x/y"), undefined);
  assert.equal(lookupNode(tree.root, "/d"), d);
  assert.equal(lookupNode(tree.root, "/"), tree.root);
  assert.equal(lookupLeaf(tree.root, "d/l"), link);
  assert.equal(lookupRegularFile(tree.root, "/d/f"), file);
});

Deno.test("lookups say why nothing was found", async (t) => {
  const { tree: { root } } = sample();
  const cases: [string, () => unknown, string, string][] = [
    ["missing", () => lookupDirectory(root, "x"), "CFS_NOT_FOUND", '"x" does not exist'],
    ["below missing", () => lookupLeaf(root, "d/x/y"), "CFS_NOT_FOUND", '"x" does not exist'],
    ["not UTF-8", () => lookupLeaf(root, "\xff"), "CFS_NOT_FOUND", '"\\xff" does not exist'],
    ["a file", () => lookupDirectory(root, "/d/f"), "CFS_CONFLICT", '"f" is not a subdirectory'],
    [
      "through a file",
      () => lookupLeaf(root, "d/f/x"),
      "CFS_CONFLICT",
      '"f" is not a subdirectory',
    ],
    ["a directory", () => lookupLeaf(root, "d"), "CFS_CONFLICT", '"d" is a directory'],
    [
      "a link",
      () => lookupRegularFile(root, "/d/l"),
      "CFS_CONFLICT",
      '"l" is not a regular file',
    ],
  ];
  for (const [name, run, code, message] of cases) {
    await t.step(name, () => {
      assert.throws(run, { code, message: `Directory entry ${message}` });
    });
  }
  for (const path of ["..", "d/../d", "./d"]) {
    await t.step(path, () => {
      assert.throws(() => lookupDirectory(root, path), {
        code: "CFS_INVALID_NAME",
        message: `Invalid filename "${path}"`,
      });
    });
  }
  await t.step("the root as a leaf", () => {
    assert.throws(() => lookupLeaf(root, "/"), { code: "CFS_INVALID_NAME" });
  });
});

Deno.test("mergeEntry() keeps the entries of a directory and replaces anything else", () => {
  const { tree, d, link } = sample();
  const other = new Directory(stat(0o700));
  assert.equal(mergeEntry(tree.root, "d", { node: other }), d);
  assert.equal(d.stat, other.stat);
  assert.equal(d.entries.size, 3);
  assert.equal(mergeEntry(tree.root, "d", { node: link }), link);
  assert.equal(tree.root.entries.get("d"), link);
  assert.equal(mergeEntry(tree.root, "d", { node: other }), other);
});

Deno.test("sorted() is byte order", () => {
  const root = new Directory(stat(0o755));
  for (const name of ["b", "\xff", "a", "B", "a!", "aa"]) {
    root.entries.set(name, new Leaf(stat(0o644), { type: "fifo" }));
  }
  assert.deepEqual(root.sortedNames(), ["B", "a", "a!", "aa", "b", "\xff"]);
  assert.deepEqual(root.sorted().map(([name]) => name), root.sortedNames());
});

Deno.test("countLinks() counts names; validateTree() refuses linked whiteouts", () => {
  const { tree, d, file, link } = sample();
  assert.deepEqual([...countLinks(tree)], [[file, 2], [link, 1]]);
  assert.equal(hasWhiteout(tree), false);
  const whiteout = new Leaf(stat(0o600), { type: "char", rdev: 0 });
  d.entries.set("w", whiteout);
  validateTree(tree);
  assert.equal(hasWhiteout(tree), true);
  d.entries.set("v", whiteout);
  assert.throws(() => validateTree(tree), {
    message: "invalid composefs filesystem: whiteout inode has nlink > 1",
  });
});
