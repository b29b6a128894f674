import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.0";
import type { ObjectId } from "../../lib/base/mod.ts";
import {
  formatDumpfile,
  formatEntry,
  formatHardlink,
  parseDumpfile,
} from "../../lib/dumpfile/mod.ts";
import {
  Directory,
  Leaf,
  type LeafContent,
  NO_XATTRS,
  type Node,
  type Stat,
} from "../../lib/tree/mod.ts";
import { describeTree, fixtureNames, fixtureText } from "../erofs/_fixtures.ts";

const encoder = new TextEncoder();

Deno.test("formatDumpfile() gives the peer's dumpfiles back", async (t) => {
  const names = fixtureNames("trees", ".dump");
  assert.ok(names.length >= 46);
  for (const name of names) {
    await t.step(name, () => {
      const text = fixtureText(`trees/${name}.dump`);
      assert.equal([...formatDumpfile(parseDumpfile(encoder.encode(text)))].join(""), text);
    });
  }
});

Deno.test("formatDumpfile() hands out whole lines in pieces", () => {
  const text = fixtureText("trees/rnd204n.sha256.dump");
  const pieces = [...formatDumpfile(parseDumpfile(encoder.encode(text)))];
  assert.ok(pieces.length > 3);
  for (const piece of pieces) assert.ok(piece.endsWith("\n") && piece.length < 128 * 1024);
});

const STAT: Stat = {
  mode: 0o4644,
  uid: 1,
  gid: 2,
  mtimeSec: -5n,
  mtimeNsec: 7,
  xattrs: NO_XATTRS,
};
const DIGEST = "ab".repeat(32) as ObjectId;

Deno.test("formatEntry() writes one line", async (t) => {
  const cases: [LeafContent, string][] = [
    [{ type: "inline", data: new Uint8Array(0) }, "0 104644 1 1 2 0 -5.7 - - -"],
    [{ type: "inline", data: encoder.encode("-") }, "1 104644 1 1 2 0 -5.7 - \\x2d -"],
    [
      { type: "inline", data: encoder.encode("a =\\\n") },
      "5 104644 1 1 2 0 -5.7 - a\\x20=\\\\\\n -",
    ],
    [
      { type: "external", digest: DIGEST, size: 9 },
      `9 104644 1 1 2 0 -5.7 ab/${DIGEST.slice(2)} - ${DIGEST}`,
    ],
    [
      { type: "external-no-verity", digest: DIGEST, size: 9 },
      `9 104644 1 1 2 0 -5.7 ab/${DIGEST.slice(2)} - -`,
    ],
    [{ type: "sparse", size: 9 }, "9 104644 1 1 2 0 -5.7 - - -"],
    [{ type: "symlink", target: "-" }, "1 124644 1 1 2 0 -5.7 \\x2d - -"],
    [{ type: "block", rdev: 3 }, "0 64644 1 1 2 3 -5.7 - - -"],
    [{ type: "char", rdev: 0 }, "0 24644 1 1 2 0 -5.7 - - -"],
    [{ type: "fifo" }, "0 14644 1 1 2 0 -5.7 - - -"],
    [{ type: "socket" }, "0 144644 1 1 2 0 -5.7 - - -"],
  ];
  for (const [content, expected] of cases) {
    await t.step(content.type, () => {
      assert.equal(formatEntry("/a b", new Leaf(STAT, content)), `/a\\x20b ${expected}\n`);
    });
  }
  await t.step("directory, empty path, attributes", () => {
    const xattrs = new Map([["user.b", ""], ["user.a", "x=-\0"], ["user.-", "-"]]);
    const directory = new Directory({ ...STAT, xattrs });
    directory.entries.set("d", new Directory(STAT));
    assert.equal(
      formatEntry("", directory),
      "- 0 44644 1 1 2 0 -5.7 - - - user.-=- user.a=x\\x3d-\\x00 user.b=\n",
    );
    assert.equal(formatEntry("/.", new Directory(STAT), { nlink: 3 }).split(" ")[3], "3");
  });
  await t.step("hard link", () => {
    assert.equal(formatHardlink("/b c", "/-"), "/b\\x20c 0 @120000 - - - - 0.0 /- - -\n");
  });
});

const byteString = (constraints: { minLength: number; maxLength: number }) =>
  fc.uint8Array(constraints).map((bytes) => String.fromCharCode(...bytes));
const name = byteString({ minLength: 1, maxLength: 12 }).filter((text) =>
  !/[\0/]/.test(text) && text !== "." && text !== ".."
);
const stat: fc.Arbitrary<Stat> = fc.record({
  mode: fc.nat(0o7777),
  uid: fc.nat(0xffffffff),
  gid: fc.nat(0xffffffff),
  mtimeSec: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
  mtimeNsec: fc.nat(999_999_999),
  xattrs: fc.dictionary(fc.constantFrom("user.a", "user.b=", "security.x y"), fc.string(), {
    maxKeys: 3,
  }).map((values) => {
    const entries = Object.entries(values).map(([key, value]): [string, string] => [
      key,
      value.replace(/[^\0-\xff]/g, "?"),
    ]);
    return new Map(entries.sort(([a], [b]) => a < b ? -1 : 1));
  }),
});
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("") as ObjectId
);
const size = fc.nat({ max: 2 ** 31 - 1 }).map((value) => value * 2 ** 20 + 1);
const content: fc.Arbitrary<LeafContent> = fc.oneof(
  fc.record({ type: fc.constant("inline" as const), data: fc.uint8Array({ maxLength: 64 }) }),
  fc.record({ type: fc.constant("external" as const), digest, size }),
  fc.record({ type: fc.constant("external-no-verity" as const), digest, size }),
  fc.record({ type: fc.constant("sparse" as const), size }),
  fc.record({
    type: fc.constant("symlink" as const),
    target: byteString({ minLength: 1, maxLength: 20 }).filter((text) => !text.includes("\0")),
  }),
  fc.record({ type: fc.constant("block" as const), rdev: fc.nat(0xffffffff) }),
  fc.record({ type: fc.constant("char" as const), rdev: fc.integer({ min: 1, max: 2 ** 31 }) }),
  fc.constant({ type: "fifo" as const }),
  fc.constant({ type: "socket" as const }),
);
const leaf = fc.tuple(stat, content).map(([one, what]) => new Leaf(one, what));
const { node } = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof({ maxDepth: 3 }, leaf, directoryOf(tie("node"))),
}));

function directoryOf(child: fc.Arbitrary<Node>): fc.Arbitrary<Directory> {
  return fc.tuple(stat, fc.array(fc.tuple(name, child), { maxLength: 5 })).map(([one, entries]) => {
    const directory = new Directory(one);
    for (const [key, value] of entries) directory.entries.set(key, value);
    return directory;
  });
}

Deno.test("parseDumpfile() gives back any tree that was formatted", () => {
  fc.assert(fc.property(directoryOf(node), fc.nat(), (root, pick) => {
    // One leaf gets a second name, so that there are hard links.
    const leaves = [...root.entries.values()].filter((one) => one.kind === "leaf");
    if (leaves.length > 0) root.entries.set("link", leaves[pick % leaves.length]!);
    const text = [...formatDumpfile({ root })].join("");
    assert.match(text, /^[\x20-\x7e\n]*$/);
    const again = parseDumpfile(encoder.encode(text));
    assert.deepEqual(describeTree(again), describeTree({ root }));
  }));
});
