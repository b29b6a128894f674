import assert from "node:assert/strict";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import { ALGORITHMS, type HashName, nodeHash } from "../../lib/base/mod.ts";
import { type DumpfileDialect, parseDumpfile } from "../../lib/dumpfile/mod.ts";
import {
  checkStructure,
  detectHash,
  listObjects,
  openImage,
  readTree,
} from "../../lib/erofs/mod.ts";
import type { Directory, FileTree } from "../../lib/tree/mod.ts";
import { describeTree, fixture, fixtureNames, fixtureText } from "./_fixtures.ts";

/** One line of images.tsv. */
interface Row {
  name: string;
  tree: string;
  version: number;
  hash: HashName;
  id: string;
  size: number;
}

const ROWS: Row[] = fixtureText("images/images.tsv").trimEnd().split("\n").slice(1).map((line) => {
  const [file, id, size] = line.split("\t") as [string, string, string];
  const [tree, version, hash] = file.split(".") as [string, string, HashName];
  return {
    name: file.replace(/\.img$/, ""),
    tree,
    version: Number(version.slice(1)),
    hash,
    id: id.slice(id.indexOf(":") + 1),
    size: Number(size),
  };
});

/** The tree that the image was made from. */
function source(row: Row): FileTree {
  const path = row.tree === "mix"
    ? "images/mix.sha256.source.dump"
    : `trees/${row.tree}.${row.hash}.dump`;
  return parseDumpfile(fixture(path));
}

function image(row: Row) {
  return openImage(fixture(`images/${row.name}.img`));
}

/** Calls `change` for every directory of a tree. */
function forEachDirectory(tree: FileTree, change: (directory: Directory) => void): void {
  const stack = [tree.root];
  for (let directory = stack.pop(); directory !== undefined; directory = stack.pop()) {
    change(directory);
    for (const node of directory.entries.values()) if (node.kind === "directory") stack.push(node);
  }
}

const LOST = /^(?:trusted|user)\.overlay\.(?:whiteouts?|opaque)$/;

/** Removes from a tree what a peer's reader loses. */
function loseXattrs(tree: FileTree): FileTree {
  forEachDirectory(tree, (directory) => {
    for (const node of [directory, ...directory.entries.values()]) {
      const kept = [...node.stat.xattrs].filter(([name]) => !LOST.test(name));
      node.stat = { ...node.stat, xattrs: new Map(kept) };
    }
  });
  return tree;
}

function loseWhiteouts(tree: FileTree, from: "root stubs" | "everywhere"): FileTree {
  forEachDirectory(tree, (directory) => {
    for (const [name, node] of directory.entries) {
      if (node.kind !== "leaf" || !node.isWhiteout) continue;
      const lost = from === "everywhere" || directory === tree.root && /^[0-9a-f]{2}$/i.test(name);
      if (lost) directory.entries.delete(name);
    }
  });
  return tree;
}

Deno.test("images are read as the trees that they were made from", async (t) => {
  assert.equal(ROWS.length, fixtureNames("images/", ".img").length);
  for (const row of ROWS) {
    await t.step(row.name, () => {
      const bytes = fixture(`images/${row.name}.img`);
      assert.equal(bytes.length, row.size);
      assert.equal(
        objectIdOf(bytes, { algorithm: ALGORITHMS[row.hash], provider: nodeHash }),
        row.id,
      );
      const opened = openImage(bytes);
      assert.equal(opened.version, row.version);
      let expected = describeTree(source(row)).join("\n");
      if (row.tree === "mix" && row.hash === "sha512") {
        const [id] = listObjects(opened);
        assert.match(id!, /^[0-9a-f]{128}$/);
        expected = expected.replace(/"digest":"[^"]*"/, `"digest":"${id}"`);
      }
      const tree = readTree(opened);
      assert.equal(describeTree(tree).join("\n"), expected);
      assert.equal(tree.notes, undefined);
      assert.deepEqual(describeTree(readTree(opened, { hash: row.hash })), describeTree(tree));
    });
  }
});

Deno.test("peers' dumps of the images differ only in what the peers lose", async (t) => {
  const peers: [suffix: string, dialect: DumpfileDialect][] = [
    [".cfsctl-dump", "rs"],
    [".c-dump", "c"],
  ];
  for (const [suffix, dialect] of peers) {
    for (const name of fixtureNames("images/", suffix)) {
      await t.step(name + suffix, () => {
        const row = ROWS.find((r) => r.name === name)!;
        const theirs = parseDumpfile(fixture(`images/${name}${suffix}`), { dialect });
        let ours = loseXattrs(readTree(image(row)));
        if (dialect === "rs") ours = loseWhiteouts(ours, "root stubs");
        else if (row.version === 2) ours = loseWhiteouts(ours, "everywhere");
        assert.deepEqual(describeTree(ours), describeTree(loseXattrs(theirs)));
      });
    }
  }
});

Deno.test("the structure of the images is sound", async (t) => {
  for (const row of ROWS) {
    await t.step(row.name, () => assert.deepEqual(checkStructure(image(row)), []));
  }
});

Deno.test("the hash function is found by the length of the first digest", () => {
  for (const row of ROWS) {
    const hasObjects = row.tree === "mix" || row.tree === "hardlinks";
    assert.equal(detectHash(image(row)), hasObjects ? row.hash : undefined, row.name);
  }
});

Deno.test("the wrong hash function is an error, not another tree", () => {
  const row = ROWS.find((r) => r.name === "mix.v1.sha512")!;
  assert.throws(() => readTree(image(row), { hash: "sha256" }), (error: Error) => {
    assert.equal(error.message, "reading root directory");
    const directory = error.cause as Error;
    assert.equal(directory.message, 'reading directory "d"');
    assert.equal(
      (directory.cause as Error).message,
      "malformed trusted.overlay.metacopy xattr: expected 36 bytes, got 68",
    );
    return true;
  });
});

Deno.test("an image may start anywhere in a buffer", () => {
  const bytes = fixture("images/mix.v1.sha256.img");
  const shifted = new Uint8Array(bytes.length + 3).subarray(3);
  shifted.set(bytes);
  assert.deepEqual(
    describeTree(readTree(openImage(shifted))),
    describeTree(readTree(openImage(bytes))),
  );
});
