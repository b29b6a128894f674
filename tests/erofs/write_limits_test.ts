import assert from "node:assert/strict";
import { FormatError, type ObjectId, toByteString } from "../../lib/base/mod.ts";
import { parseDumpfile } from "../../lib/dumpfile/mod.ts";
import {
  type ErofsVersion,
  INODE_EXTENDED_SIZE,
  INODES_OFFSET,
  LAYOUT_CHUNK,
  writeImage,
} from "../../lib/erofs/mod.ts";
import {
  Directory,
  Leaf,
  type LeafContent,
  NO_XATTRS,
  type Node,
  type Stat,
  type Xattrs,
} from "../../lib/tree/mod.ts";

const DIGEST = "ab".repeat(32) as ObjectId;

function stat(more: Partial<Stat> = {}): Stat {
  return { mode: 0o644, uid: 0, gid: 0, mtimeSec: 1n, mtimeNsec: 0, xattrs: NO_XATTRS, ...more };
}

function tree(entries: Record<string, Node>): { root: Directory } {
  const root = new Directory(stat({ mode: 0o755 }));
  for (const [name, node] of Object.entries(entries)) root.entries.set(name, node);
  return { root };
}

function leaf(content: LeafContent, more: Partial<Stat> = {}): Leaf {
  return new Leaf(stat(more), content);
}

const EMPTY: LeafContent = { type: "inline", data: new Uint8Array(0) };

function numbered(count: number, value = ""): Xattrs {
  return new Map(Array.from({ length: count }, (_, i) => [`user.n${i}`, value]));
}

Deno.test("writeImage() refuses what no image can hold, with the path", async (t) => {
  const within = (node: Node): Node => {
    const directory = new Directory(stat());
    directory.entries.set("f", node);
    return directory;
  };
  const cases: [string, Node, string, ErofsVersion?][] = [
    ["owner", leaf(EMPTY, { uid: 2 ** 32 }), "owner does not fit in 32 bits"],
    ["group", leaf(EMPTY, { gid: -1 }), "owner does not fit in 32 bits"],
    ["nanoseconds", leaf(EMPTY, { mtimeNsec: 1e9 }), "invalid nanoseconds 1000000000"],
    [
      "device",
      leaf({ type: "char", rdev: 2 ** 32 }),
      "device number 4294967296 does not fit in 32 bits",
    ],
    [
      "size",
      leaf({ type: "external", digest: DIGEST, size: 2 ** 54 }),
      "File too large: 18014398509481984 bytes",
    ],
    [
      "digest",
      leaf({ type: "external", digest: (DIGEST + DIGEST) as ObjectId, size: 1 }),
      "object id is not a sha256 digest",
    ],
    [
      "empty link",
      leaf({ type: "symlink", target: "" }),
      "symlink target of 0 bytes, must be 1 to 4095",
    ],
    [
      "long link",
      leaf({ type: "symlink", target: "t".repeat(4096) }),
      "symlink target of 4096 bytes, must be 1 to 4095",
    ],
    [
      "long link in format 2",
      leaf({ type: "symlink", target: "t".repeat(1025) }),
      "symlink target of 1025 bytes, must be 1 to 1024",
      2,
    ],
    [
      "inline file in format 2",
      leaf({ type: "inline", data: new Uint8Array(513) }),
      "inline file of 513 bytes, must be at most 512",
      2,
    ],
    [
      "xattr name",
      leaf(EMPTY, { xattrs: new Map([["n".repeat(256), ""]]) }),
      "xattr name of 256 bytes is too long",
    ],
    [
      "xattr value",
      leaf(EMPTY, { xattrs: new Map([["user.a", "v".repeat(65536)]]) }),
      "xattr value of 65536 bytes is too long",
    ],
    [
      "all xattrs",
      leaf(EMPTY, { xattrs: numbered(5, "v".repeat(60000)) }),
      "xattrs are too large",
    ],
  ];
  for (const [name, node, message, version = 1] of cases) {
    await t.step(name, () => {
      assert.throws(
        () => writeImage(tree({ d: within(node) }), { version, hash: "sha256" }),
        (error: unknown) => {
          assert.ok(error instanceof FormatError, String(error));
          assert.equal(error.message, `Cannot write "/d/f": ${message}`);
          return true;
        },
      );
    });
  }
});

Deno.test("writeImage() refuses names that no directory can hold", async (t) => {
  for (const name of ["", ".", "..", "a/b", "a\0", "n".repeat(256), "\u0100"]) {
    await t.step(JSON.stringify(name.slice(0, 10)), () => {
      assert.throws(
        () => writeImage(tree({ [name]: leaf(EMPTY) }), { hash: "sha256" }),
        FormatError,
      );
    });
  }
  await t.step("a directory with two names", () => {
    const directory = new Directory(stat());
    directory.entries.set("again", directory);
    assert.throws(() => writeImage(tree({ d: directory }), { hash: "sha256" }), FormatError);
  });
  await t.step("a linked whiteout", () => {
    const whiteout = leaf({ type: "char", rdev: 0 });
    for (const version of [0, 1, 2] as const) {
      assert.throws(
        () => writeImage(tree({ a: whiteout, b: whiteout }), { version, hash: "sha256" }),
        { message: "invalid composefs filesystem: whiteout inode has nlink > 1" },
      );
    }
  });
});

Deno.test("writeImage() shares at most what an inode can count", () => {
  const sharing = (count: number) => {
    const xattrs = numbered(count);
    return tree({ a: leaf(EMPTY, { xattrs }), b: leaf(EMPTY, { xattrs }) });
  };
  for (const version of [0, 1, 2] as const) {
    assert.ok(writeImage(sharing(255), { version, hash: "sha256" }).length > 4096);
    assert.throws(() => writeImage(sharing(256), { version, hash: "sha256" }), {
      message: 'Cannot write "/a": 256 shared xattrs are more than 255',
    });
  }
  // C keeps the rest unshared.
  const image = writeImage(sharing(300), { hash: "sha256", dialect: "c" });
  assert.ok(image.length > 4096);
});

Deno.test("writeImage() gives files without verity or data no chunk address in format 2", () => {
  for (
    const [content, tail] of [
      [{ type: "sparse", size: 9 }, 0],
      [{ type: "external-no-verity", digest: DIGEST, size: 9 }, 0],
      [{ type: "external", digest: DIGEST, size: 9 }, 4],
    ] as const
  ) {
    const image = writeImage(tree({ a: leaf(content) }), { version: 2, hash: "sha256" });
    const view = new DataView(image.buffer);
    // The second inode follows the root, whose tail holds three entries.
    const root = INODES_OFFSET + INODE_EXTENDED_SIZE + 3 * 12 + 4;
    const at = Math.ceil(root / 32) * 32;
    assert.equal(view.getUint16(at, true), LAYOUT_CHUNK + 1);
    assert.equal(view.getUint32(at + 16, true), 31);
    const end = at + INODE_EXTENDED_SIZE + 12 + 4 * (view.getUint16(at + 2, true) - 1);
    assert.equal(view.getUint32(end, true), tail === 4 ? 0xffffffff : 0, content.type);
  }
});

Deno.test("writeImage() keeps a dumpfile's own redirects in every format", () => {
  const lines = "/ 0 40755 2 0 0 0 1.0 - - -\n/a 9 100644 1 0 0 0 1.0 foo/bar - -\n";
  const parsed = parseDumpfile(new TextEncoder().encode(lines), { dialect: "c" });
  for (const version of [0, 1, 2] as const) {
    const image = writeImage(parsed, { version, hash: "sha256", dialect: "c" });
    assert.ok(toByteString(image).includes("overlay.redirect/foo/bar"), `v${version}`);
  }
  // Without C's rules the note is not read.
  const image = writeImage(parsed, { hash: "sha256" });
  assert.ok(!toByteString(image).includes("foo/bar"));
});

Deno.test("writeImage() does not change the tree and is repeatable", () => {
  const whiteout = leaf({ type: "char", rdev: 0 });
  const one = tree({ w: whiteout, f: leaf(EMPTY) });
  const first = writeImage(one, { hash: "sha256" });
  assert.deepEqual([...one.root.entries.keys()], ["w", "f"]);
  assert.equal(one.root.stat.xattrs.size, 0);
  assert.deepEqual(writeImage(one, { hash: "sha256" }), first);
});

Deno.test("writeImage() uses no stack for depth", () => {
  const root = new Directory(stat());
  let last = root;
  for (let i = 0; i < 20_000; i++) {
    const next = new Directory(stat());
    last.entries.set("d", next);
    last = next;
  }
  for (const version of [1, 2] as const) {
    assert.ok(writeImage({ root }, { version, hash: "sha256" }).length > 20_000 * 64);
  }
});
