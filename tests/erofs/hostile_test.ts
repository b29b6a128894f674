import assert from "node:assert/strict";
import { ComposefsError, FormatError, fromHex } from "../../lib/base/mod.ts";
import {
  checkStructure,
  INODE_COMPACT,
  INODE_EXTENDED,
  INODE_EXTENDED_SIZE,
  INODE_SLOT,
  listObjects,
  openImage,
  readTree,
  S_IF,
  writeImage,
} from "../../lib/erofs/mod.ts";
import { InodeCursor } from "../../lib/erofs/read_inode.ts";
import { Directory, Leaf, NO_XATTRS, type Stat } from "../../lib/tree/mod.ts";
import { describeTree, fixture, fixtureText } from "./_fixtures.ts";

type Patch = [offset: number, hex: string];

/** One row of hostile.json. */
interface Row {
  name: string;
  base: string;
  patches: Patch[];
  "composefs-info dump (cfsctl)": { exit: number; error: string | null };
}

const ROWS: Row[] = JSON.parse(fixtureText("hostile.json"));

/** What ours must say where cfsctl accepts the image or says something else (spec: erofs 8.2). */
const OURS: Readonly<Record<string, string>> = {
  "dirent-filetype-lie": 'Invalid image: directory entry "aa" has file type 2, its inode 1',
  "name-with-slash": `Invalid image: name "a/" in directory contains '/'`,
  "name-with-nul": 'Invalid image: name "\\u{0}" in directory contains NUL',
  "dirents-unsorted": 'Invalid image: directory entry "cz" is not in order',
  "directory-cycle": 'Invalid image: directory entry "aa" has file type 1, its inode 2',
  "redirect-differs-from-metacopy":
    'Invalid image: redirect of "big" names another object than its metacopy',
};

/** What the structural check must report for images that can be read. */
const STRUCTURE: Readonly<Record<string, string[]>> = {
  "blocks-zero": ["superblock claims 0 blocks, the image has 4"],
  "inos-lie": ["superblock claims 5 inodes, found 9"],
  "dirent-filetype-0": [],
};

function patched(base: string, patches: readonly Patch[]): Uint8Array<ArrayBuffer> {
  const bytes = fixture(`images/${base}`);
  for (const [offset, hex] of patches) bytes.set(fromHex(hex), offset);
  return bytes;
}

/** The innermost message of what reading the image throws; undefined when it can be read. */
function fault(bytes: Uint8Array): string | undefined {
  try {
    readTree(openImage(bytes), { hash: "sha256" });
    return undefined;
  } catch (error) {
    let inner: unknown = error;
    for (; inner instanceof ComposefsError && inner.cause !== undefined; inner = inner.cause);
    assert.ok(inner instanceof FormatError, String(error));
    return inner.message;
  }
}

Deno.test("patched images get the verdict of the reference, or a stricter one", async (t) => {
  for (const row of ROWS) {
    await t.step(row.name, () => {
      const peer = row["composefs-info dump (cfsctl)"];
      const bytes = patched(row.base, row.patches);
      assert.equal(fault(bytes), OURS[row.name] ?? peer.error ?? undefined);
      if (peer.exit !== 0 || OURS[row.name] !== undefined) return;
      assert.deepEqual(checkStructure(openImage(bytes)), STRUCTURE[row.name] ?? []);
    });
  }
  const known = new Set(ROWS.map((row) => row.name));
  for (const name of Object.keys(OURS)) assert.ok(known.has(name), name);
});

const MIX = "mix.v2.sha256.img";
const EMPTY_STUB = "empty.v1.sha256.img";

/** More images, by our own patches: what they must be refused with. */
const MORE: [name: string, base: string, patches: Patch[], message: string][] = [
  ["empty name", MIX, [[1260, "42"]], "Invalid image: empty name in directory"],
  ["equal names", MIX, [[1563, "66"]], 'Duplicate directory entry "f"'],
  [
    "directory that holds itself",
    MIX,
    [[1532, "2c00"]],
    'Invalid image: directory entry "sub" leads back to a directory above it',
  ],
  [
    "directory with two names",
    MIX,
    [[1264, "3f00"], [1274, "02"]],
    'Invalid image: directory entry "wh" is a second name of a directory',
  ],
  ["no '..'", MIX, [[2024, "0d"], [2128, "0c"], [2132, "2e"]], "Invalid '..' entry in directory"],
  [
    "no '.'",
    MIX,
    [[2024, "0e"], [2128, "0c"], [2132, "2e2e"], [2120, "2c"]],
    "Invalid '.' entry in directory",
  ],
  [
    "name followed by NUL",
    MIX,
    [[1283, "00"]],
    'Invalid image: name "w" in directory is followed by NUL',
  ],
  [
    "unknown entry type",
    MIX,
    [[1250, "09"]],
    'Invalid image: directory entry "aa" has file type 9, its inode 1',
  ],
  ["inode number of 64 bits", MIX, [[1244, "01"]], "Invalid inode: 4294967337"],
  ["inode number outside", MIX, [[1240, "ffffff7f"]], "Invalid inode: 2147483647"],
  [
    "nanoseconds out of range",
    MIX,
    [[1352, "00ca9a3b"]],
    "Invalid image: mtime nanoseconds 1000000000 of inode 41 are out of range",
  ],
  ["xattr prefix", MIX, [[1677, "07"]], "Invalid image: xattr name_index 7 out of range"],
  ["xattr longer than the inode", MIX, [[1678, "ffff"]], "Offset out of bounds"],
  ["more references than the inode", MIX, [[1668, "ff"]], "Offset out of bounds"],
  [
    "metacopy twice",
    MIX,
    [[1744, "6d657461636f7079"]],
    "Invalid image: extended attribute trusted.overlay.metacopy occurs twice in an inode",
  ],
  [
    "inline file above 512 bytes",
    MIX,
    [[1320, "0102"]],
    'inline regular file "aa" has size 513 (max 512)',
  ],
  [
    "symlink above 1024 bytes",
    MIX,
    [[1928, "0104"]],
    'symlink target for "l" is 1025 bytes (max 1024)',
  ],
  ["symlink without target", MIX, [[1928, "00"]], 'Invalid image: symlink "l" has no target'],
  ["symlink with NUL", MIX, [[1984, "00"]], 'Invalid image: symlink target for "l" contains NUL'],
  [
    "size above 2^53",
    MIX,
    [[1608, "0100000000002000"]],
    'Invalid image: size 9007199254740993 of "big" is out of range',
  ],
  ["root that is a file", MIX, [[1156, "a481"]], "Invalid image: root is not a directory"],
  [
    "no links",
    MIX,
    [[1356, "00"]],
    "nlink mismatch for inode nid 41: on-disk nlink is 0, but found 1 reference(s) " +
    "in the directory tree",
  ],
  [
    "block range outside",
    EMPTY_STUB,
    [[1168, "04"]],
    "Invalid image: inode block range 4..5 exceeds image (4 blocks)",
  ],
];

Deno.test("contradictions are refused", async (t) => {
  for (const [name, base, patches, message] of MORE) {
    await t.step(name, () => assert.equal(fault(patched(base, patches)), message));
  }
});

Deno.test("counts that lie are for the structural check", () => {
  const bytes = patched(MIX, [[1040, "05"]]);
  assert.equal(fault(bytes), undefined);
  assert.deepEqual(checkStructure(openImage(bytes)), STRUCTURE["inos-lie"]);
  assert.equal(fault(patched(MIX, [[1250, "00"]])), undefined);
});

Deno.test("the rules of formats 0 and 1 are checked before objects are listed", () => {
  // The root's block begins with its 261 entries, then ".", ".." and "00", which becomes "0/".
  const bytes = patched("mix.v1.sha256.img", [[3 * 4096 + 261 * 12 + 3, "302f"]]);
  const message =
    "Invalid image: Epoch1 image has 255 hex-named root entries, expected 256 (00–ff)";
  assert.throws(() => listObjects(openImage(bytes)), { message });
  assert.equal(listObjects(openImage(bytes), { structure: false }).length, 1);
});

Deno.test("every truncation is refused or read, never anything else", () => {
  for (const base of [MIX, EMPTY_STUB]) {
    const bytes = fixture(`images/${base}`);
    let refused = 0;
    for (let length = 0; length < bytes.length; length += length < 2400 ? 1 : 61) {
      if (fault(bytes.subarray(0, length)) !== undefined) refused++;
    }
    assert.ok(refused > 2000, `${refused} truncations were refused`);
  }
});

const STAT: Stat = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtimeSec: 0n,
  mtimeNsec: 0,
  xattrs: NO_XATTRS,
};

/** Where the root is when nothing moves it. */
const ROOT_NID = 36;

/** A chain of directories, the root included. */
function chain(depth: number): Directory {
  const root = new Directory(STAT);
  let directory = root;
  for (let i = 1; i < depth; i++) {
    const child = new Directory(STAT);
    directory.entries.set("d", child);
    directory = child;
  }
  return root;
}

Deno.test("directories may be 2048 deep and no deeper", () => {
  const deep = writeImage({ root: chain(2048) }, { version: 2, hash: "sha256" });
  assert.equal(describeTree(readTree(openImage(deep))).length, 2048);
  const deeper = writeImage({ root: chain(2049) }, { version: 2, hash: "sha256" });
  assert.equal(fault(deeper), "Maximum directory depth exceeded");
  assert.throws(() => readTree(openImage(deeper)), (error: Error) => {
    // One line for the whole path, not one for each directory.
    const lines: string[] = [];
    for (let at: unknown = error; at instanceof Error; at = at.cause) lines.push(at.message);
    return lines.length === 3;
  });
});

Deno.test("parts that are used over and over are refused at once", () => {
  const root = new Directory(STAT);
  const big = new Leaf(STAT, { type: "inline", data: new Uint8Array(64 * 4096).fill(1) });
  root.entries.set("big", big);
  for (let i = 0; i < 2000; i++) {
    root.entries.set(`f${i}`, new Leaf(STAT, { type: "inline", data: new Uint8Array([i]) }));
  }
  const bytes = writeImage({ root }, { version: 1, hash: "sha256", dialect: "c" });
  assert.equal(fault(bytes), undefined);
  const inode = new InodeCursor(openImage(bytes));
  const view = new DataView(bytes.buffer);
  const small: number[] = [];
  let first = 0;
  for (let nid = ROOT_NID; nid < bytes.length / INODE_SLOT; nid++) {
    try {
      inode.load(nid);
    } catch (error) {
      if (error instanceof FormatError) continue;
      throw error;
    }
    if (inode.type !== S_IF.regular || inode.nlink !== 1) continue;
    if (inode.size === 64 * 4096) first = inode.union;
    if (inode.size === 1) small.push(nid);
  }
  assert.equal(small.length, 2000);
  for (const nid of small) {
    view.setUint16(nid * INODE_SLOT, 0, true);
    view.setUint32(nid * INODE_SLOT + INODE_COMPACT.size[0], 64 * 4096, true);
    view.setUint32(nid * INODE_SLOT + INODE_COMPACT.u[0], first, true);
  }
  assert.equal(fault(bytes), "Invalid image: its parts overlap");
});

Deno.test("inodes inside of each other's attributes are refused at once", () => {
  // Every slot is a file with the largest attribute area, and one directory names all of them.
  const count = 30_000;
  const root = new Directory(STAT);
  for (let i = 0; i < count; i++) {
    root.entries.set(`f${i}`, new Leaf(STAT, { type: "fifo" }));
  }
  const bytes = writeImage({ root }, { version: 2, hash: "sha256" });
  const view = new DataView(bytes.buffer);
  const cursor = new InodeCursor(openImage(bytes));
  cursor.load(ROOT_NID);
  let nid = Math.ceil(cursor.end / INODE_SLOT);
  for (let i = 0; i < count; i++, nid += INODE_EXTENDED_SIZE / INODE_SLOT) {
    cursor.load(nid);
    assert.equal(cursor.type, S_IF.fifo);
    view.setUint16(nid * INODE_SLOT + INODE_EXTENDED.icount[0], 0xffff, true);
  }
  const started = performance.now();
  assert.notEqual(fault(bytes), undefined);
  assert.throws(() => checkStructure(openImage(bytes)), {
    message: "Invalid image: its parts overlap",
  });
  assert.ok(performance.now() - started < 1000);
});
