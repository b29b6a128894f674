import assert from "node:assert/strict";
import { fromByteString } from "../../lib/base/mod.ts";
import {
  DumpfileError,
  type DumpfileOptions,
  DumpfileParser,
  formatDumpfile,
  parseDumpfile,
} from "../../lib/dumpfile/mod.ts";
import { type FileTree, type Leaf, lookupLeaf } from "../../lib/tree/mod.ts";
import { fixture, fixtureNames } from "../erofs/_fixtures.ts";

const ROOT = "/ 0 40755 2 0 0 0 1.0 - - -";
const DIGEST = "ab".repeat(32);
const OBJECT = `ab/${DIGEST.slice(2)}`;

function parse(lines: string, options: DumpfileOptions = {}): FileTree {
  return parseDumpfile(fromByteString(lines), options);
}

function format(tree: FileTree): string {
  return [...formatDumpfile(tree)].join("");
}

/** The reason for a second line, in one dialect. */
function reason(line: string, options: DumpfileOptions = {}): string {
  try {
    parse(`${ROOT}\n${line}\n`, options);
  } catch (error) {
    assert.ok(error instanceof DumpfileError, String(error));
    return error.reason;
  }
  return "accepted";
}

Deno.test("parseDumpfile() gives the reference's reasons", async (t) => {
  const meta = "1 0 0 0 1.0";
  const cases: [string, string][] = [
    ["/a", "Missing size"],
    ["/a 0", "Missing mode"],
    ["/a 0 100644", "Missing nlink"],
    ["/a 0 100644 1", "Missing uid"],
    ["/a 0 100644 1 0", "Missing gid"],
    ["/a 0 100644 1 0 0", "Missing rdev"],
    ["/a 0 100644 1 0 0 0", "Missing mtime"],
    ["/a 0 100644 1 0 0 0 1.0", "Missing payload"],
    ["/a 0 100644 1 0 0 0 1.0 -", "Missing content"],
    ["/a 0 100644 1 0 0 0 1.0 - -", "Missing digest"],
    [`/a x 100644 ${meta} - - -`, "invalid digit found in string"],
    [`/a  100644 ${meta} - - -`, "cannot parse integer from empty string"],
    [`/a + 100644 ${meta} - - -`, "invalid digit found in string"],
    [`/a 0 108644 ${meta} - - -`, "invalid digit found in string"],
    [`/a 0 40000100644 ${meta} - - -`, "number too large to fit in target type"],
    ["/a 0 100644 1 4294967296 0 0 1.0 - - -", "number too large to fit in target type"],
    ["/a 0 100644 4294967296 0 0 0 1.0 - - -", "number too large to fit in target type"],
    ["/a 0 100644 1 0 0 0 1 - - -", "Missing . in mtime"],
    ["/a 0 100644 1 0 0 0 .5 - - -", "cannot parse integer from empty string"],
    ["/a 0 100644 1 0 0 0 18446744073709551616.0 - - -", "number too large to fit in target type"],
    ["/a 0 100644 1 0 0 0 -9223372036854775809.0 - - -", "number too small to fit in target type"],
    [
      "/a 0 100644 1 0 0 0 1.1000000000 - - -",
      "Invalid mtime nanoseconds: 1000000000 (must be < 1_000_000_000)",
    ],
    [` 0 100644 ${meta} - - -`, "Invalid empty path"],
    [`/${"a/".repeat(2048)}a 0 100644 ${meta} - - -`, "Path is too long: 4098 bytes"],
    [`a 0 100644 ${meta} - - -`, "Invalid non-absolute path"],
    [`/a//b 0 100644 ${meta} - - -`, "Empty path component (// or trailing /)"],
    [`/a/ 0 100644 ${meta} - - -`, "Empty path component (// or trailing /)"],
    [`/. 0 100644 ${meta} - - -`, "Invalid path component '.'"],
    [`/a/../b 0 100644 ${meta} - - -`, "Invalid path component '..'"],
    [`/a\\x00 0 100644 ${meta} - - -`, "Invalid embedded NUL"],
    [`/a\0 0 100644 ${meta} - - -`, "Invalid embedded NUL"],
    [`/a\\ 0 100644 ${meta} - - -`, "Unterminated escape"],
    [`/a\\x1 0 100644 ${meta} - - -`, "Unterminated hex escape"],
    [`/a\\xg0 0 100644 ${meta} - - -`, "Invalid hex escape g0"],
    [`/a\\q 0 100644 ${meta} - - -`, "Invalid escape q"],
    [`/a 513 100644 ${meta} - ${"i".repeat(513)} -`, "Input 513 exceeded maximum length 512"],
    [`/a 0 100644 ${meta} - - ${DIGEST}`, "Inline file cannot have fsverity digest"],
    [`/a 0 40755 ${meta} - c -`, "entry cannot have content"],
    [`/a 0 10644 ${meta} - - ${DIGEST}`, "entry cannot have fsverity digest"],
    ["/a 0 100644 1 0 0 7 1.0 - - -", "entry cannot have device (rdev) 7"],
    ["/a 0 20644 1 0 0 4294967296 1.0 - - -", "device number 4294967296 does not fit in 32 bits"],
    [`/a 0 120777 ${meta} - - -`, "Missing payload"],
    [`/a 0 120777 ${meta}  - -`, "Invalid empty path"],
    [`/a 0 120777 ${meta} a\\x00 - -`, "Invalid embedded NUL"],
    [
      `/a 0 120777 ${meta} ${"t".repeat(1025)} - -`,
      "Symlink target length 1025 exceeds limit 1024",
    ],
    [`/a 0 644 ${meta} - - -`, "Unhandled file type from raw mode: 420"],
    ["/a 0 @40755 - - - - 0.0 /x - -", "Invalid hardlinked directory"],
    ["/a 0 @100644 - - - - 0.0 - - -", "Missing payload"],
    ["/a 0 @100644 - - - - 0.0 /x - -", 'Hardlink target not found: "/x"'],
    ["/a 0 @100644 - - - - 0.0 x - -", "Invalid non-absolute path"],
    ["/a 0 @100644 - - - - 0.0 / - -", 'Hardlink target is a directory: "/"'],
    ["/a 0 @100644 - - - - 0.0 /a - -", 'Self-referential hardlink "/a"'],
    ["/a 0 @100644 - - - - 0.0", "Missing payload"],
    [`/a 0 100644 ${meta} - - - user.a`, "Missing = in xattrs"],
    [`/a 0 100644 ${meta} - - -  user.a=1`, "Missing = in xattrs"],
    [`/a 0 100644 ${meta} - - - =1`, "Invalid empty xattr name"],
    [`/a 0 100644 ${meta} - - - a\\x00=1`, "Invalid embedded NUL"],
    [
      `/a 0 100644 ${meta} - - - ${"n".repeat(256)}=1`,
      "xattr name too long; max=255 found=256",
    ],
    [
      `/a 0 100644 ${meta} - - - a=${"v".repeat(65536)}`,
      "xattr value too long; max=65535 found=65536",
    ],
    [
      `/a 0 100644 ${meta} - - -${
        Array.from({ length: 300 }, (_, i) => ` ${"n".repeat(240)}${i}=`).join("")
      }`,
      "Too many xattrs",
    ],
    [`/a 1 100644 ${meta} foo - -`, 'invalid object pathname: "foo"'],
    [`/a 1 100644 ${meta} ${OBJECT} - ab`, "Invalid string length"],
    [`/a 1 100644 ${meta} ${OBJECT} - ${"g".repeat(64)}`, 'Invalid character "g" at position 0'],
    [
      `/a/b 0 100644 ${meta} - - -`,
      'Parent directory not found: Directory entry "a" does not exist',
    ],
    ["/a 0 20644 2 0 0 0 1.0 - - -", 'invalid dumpfile: whiteout entry "/a" has nlink > 1'],
    [ROOT, "Can't have multiple roots"],
  ];
  for (const [line, expected] of cases) {
    await t.step(`${expected}: ${JSON.stringify(line.slice(0, 60))}`, () => {
      assert.equal(reason(line), expected);
    });
  }
});

Deno.test("parseDumpfile() refuses files as a whole", async (t) => {
  const cases: [string, string][] = [
    ["", "Dumpfile is empty, expected root directory entry"],
    ["\n \r\n\t\n", "Dumpfile is empty, expected root directory entry"],
    [
      "/a 0 40755 2 0 0 0 1.0 - - -\n",
      'Dumpfile must start with root directory entry, found: "/a"',
    ],
    ["/ 0 100644 1 0 0 0 1.0 - - -\n", "Root must be a directory"],
    [
      `${ROOT}\n/a 0 100644 1 0 0 0 1.0 - - -\n/a/b 0 100644 1 0 0 0 1.0 - - -\n`,
      'Parent directory not found: Directory entry "a" is not a subdirectory',
    ],
    [
      `${ROOT}\n/a 0 @100644 - - - - 0.0 /b - -\n/b 0 @100644 - - - - 0.0 /a - -\n`,
      'Self-referential hardlink "/b"',
    ],
    [
      `${ROOT}\n/a 0 @100644 - - - - 0.0 /d - -\n/d 0 40755 1 0 0 0 1.0 - - -\n`,
      'Hardlink target is a directory: "/d"',
    ],
  ];
  for (const [text, expected] of cases) {
    await t.step(expected, () => {
      assert.throws(() => parse(text), (error: unknown) => {
        assert.ok(error instanceof DumpfileError, String(error));
        assert.equal(error.reason, expected);
        return true;
      });
    });
  }
});

Deno.test("DumpfileError names the line, shortened", () => {
  const line = `/\x01${"a".repeat(300)} x 100644 1 0 0 0 1.0 - - -`;
  assert.throws(() => parse(`${ROOT}\r\n\n${line}\n`), (error: unknown) => {
    assert.ok(error instanceof DumpfileError);
    assert.equal(error.line, 3);
    assert.equal(error.offset, 3);
    assert.equal(error.text.length, 79 + 3 + 1);
    assert.ok(error.text.startsWith("/\\x01aaa") && error.text.endsWith("a…"));
    assert.ok(error.message.startsWith("Failed to parse dumpfile line 3: File name is too long"));
    assert.equal((error.toJSON() as { line: number }).line, 3);
    return true;
  });
});

Deno.test("parseDumpfile() accepts what only C accepts in the c dialect", async (t) => {
  const meta = "1 0 0 0 1.0";
  const c = { dialect: "c" } as const;
  const lines = [
    "a 0 100644 1 0 0 0 1.0 - - -",
    "//a 0 100644 1 0 0 0 1.0 - - -",
    "/a 0 100644 1 0 0 0 1.0",
    "/a 0 100644 1 0 0 0 1.0 - - - ",
    "/a 0 10644 1 0 0 7 1.0 - - -",
    "/a 0 40755 1 0 0 0 1.0 - c -",
    `/a 5000 100644 ${meta} - ${"i".repeat(5000)} -`,
    `/a 0 120777 ${meta} ${"t".repeat(4095)} - -`,
    `/a 1 100644 ${meta} foo - -`,
    `/a 1 100644 ${meta} - - ${DIGEST}`,
  ];
  for (const line of lines) {
    await t.step(line.slice(0, 60), () => {
      assert.equal(reason(line, c), "accepted");
      assert.notEqual(reason(line), "accepted");
    });
  }
  const refused: [string, string][] = [
    [`/a/ 0 100644 ${meta} - - -`, 'Parent directory missing for "/a/"'],
    [
      `/a 5001 100644 ${meta} - ${"i".repeat(5001)} -`,
      "Inline content size 5001 exceeds maximum 5000",
    ],
    [`/a 0 100644 ${meta} - - - user.a=${"v".repeat(32760)}`, "Too many xattrs"],
  ];
  for (const [line, expected] of refused) {
    await t.step(expected, () => assert.equal(reason(line, c), expected));
  }
  const strict: [string, string][] = [
    ["/a 0 10644 1 0 0 7 1.0 - - -", "Non-zero devnum on non-device"],
    [`/a 9 120777 ${meta} t - -`, "Invalid symlink size 9, must match length 1"],
    [`/a 1 120777 ${meta} t c -`, "entry cannot have content"],
  ];
  for (const [line, expected] of strict) {
    await t.step(`strict: ${expected}`, () => {
      assert.equal(reason(line, { dialect: "c", strict: true }), expected);
    });
  }
  await t.step("strict: Missing trailing newline", () => {
    assert.throws(() => parse(ROOT, { dialect: "c", strict: true }), {
      reason: "Missing trailing newline",
    });
    parse(ROOT, { dialect: "c" });
  });
});

Deno.test("parseDumpfile() decides what a regular file holds", async (t) => {
  const cases: [string, unknown][] = [
    ["0 100644 1 0 0 0 1.0 - - -", { type: "inline", data: new Uint8Array(0) }],
    [
      "1 100644 1 0 0 0 1.0 - \\x2d -",
      { type: "inline", data: Uint8Array.of(0x2d) },
    ],
    ["7 100644 1 0 0 0 1.0 - - -", { type: "sparse", size: 7 }],
    [
      `7 100644 1 0 0 0 1.0 any/thing - ${DIGEST.toUpperCase()}`,
      { type: "external", digest: DIGEST, size: 7 },
    ],
    [
      `7 100644 1 0 0 0 1.0 /objects/${OBJECT} ignored -`,
      { type: "external-no-verity", digest: DIGEST, size: 7 },
    ],
    ["0 120777 1 0 0 0 1.0 \\x2d - -", { type: "symlink", target: "-" }],
    ["0 20644 1 0 0 259 1.0 - - -", { type: "char", rdev: 259 }],
    ["0 60644 1 0 0 4294967295 1.0 - - -", { type: "block", rdev: 4294967295 }],
  ];
  for (const [fields, content] of cases) {
    await t.step(fields.slice(0, 50), () => {
      assert.deepEqual(lookupLeaf(parse(`${ROOT}\n/a ${fields}\n`).root, "a").content, content);
    });
  }
});

Deno.test("parseDumpfile() reads both spellings of negative times", () => {
  for (const text of ["-5.7", "18446744073709551611.7"]) {
    const { stat } = parse(`/ 0 40755 2 0 0 0 ${text} - - -\n`).root;
    assert.equal(stat.mtimeSec, -5n);
    assert.equal(stat.mtimeNsec, 7);
  }
  assert.equal(parse("/ 0 40755 2 0 0 0 +9.0 - - -").root.stat.mtimeSec, 9n);
  const least = parse("/ 0 40755 2 0 0 0 -9223372036854775808.0 - - -").root.stat.mtimeSec;
  assert.equal(least, -(2n ** 63n));
});

Deno.test("parseDumpfile() resolves hard links in any order", () => {
  const tree = parse([
    ROOT,
    "/a 0 @100644 - - - - 0.0 /b - -",
    "/b 0 @100644 - - - - 0.0 /d/c - -",
    "/d 0 40755 2 0 0 0 1.0 - - -",
    "/d/c 1 100644 3 0 0 0 1.0 - x -",
    "/e 0 @100644 - - - - 0.0 /b",
    "",
  ].join("\n"));
  const leaf = lookupLeaf(tree.root, "d/c");
  for (const path of ["a", "b", "e"]) assert.equal(lookupLeaf(tree.root, path), leaf);
});

Deno.test("parseDumpfile() keeps notes for C's rules, and only for them", () => {
  const text = [
    ROOT,
    "/d 0 40755 2 0 0 0 1.0 - - -",
    "/d/x 1 100644 7 0 0 0 1.0 - x -",
    "/a 0 @100644 - - - - 0.0 /d/x - -",
    `/f 9 100644 1 0 0 0 1.0 foo/bar - ${DIGEST}`,
    `/g 9 100644 1 0 0 0 1.0 - - ${DIGEST}`,
    `/h 9 100644 1 0 0 0 1.0 ${OBJECT} - ${DIGEST}`,
    "",
  ].join("\n");
  const tree = parse(text, { dialect: "c" });
  const note = (path: string) => tree.notes!.get(lookupLeaf(tree.root, path) as Leaf);
  assert.deepEqual(note("f"), { redirect: "foo/bar" });
  assert.deepEqual(note("g"), { redirect: null });
  assert.equal(note("h"), undefined);
  assert.equal(note("a")?.nlink, 7);
  assert.equal(note("a")?.ownerName, "x");
  assert.equal(note("a")?.ownerDirectory, tree.root.entries.get("d"));
  assert.equal(parse(ROOT).notes, undefined);
});

Deno.test("parseDumpfile() tells of attributes given twice", () => {
  const line = "/a 0 100644 1 0 0 0 1.0 - - - user.a=2 user.b=1 user.a=1\n";
  for (const [dialect, value] of [["rs", "2"], ["c", "1"]] as const) {
    const warnings: unknown[] = [];
    const tree = parse(`${ROOT}\n${line}`, { dialect, onWarning: (one) => warnings.push(one) });
    assert.deepEqual([...lookupLeaf(tree.root, "a").stat.xattrs], [["user.a", value], [
      "user.b",
      "1",
    ]]);
    assert.deepEqual(warnings, [
      { line: 2, message: 'Extended attribute "user.a" is given twice' },
    ]);
  }
});

Deno.test("DumpfileParser gives the same tree for any pieces", async (t) => {
  const small = fixtureNames("trees", ".dump").filter((name) =>
    /^(hand|xattr-kinds|hardlinks|rnd8)\./.test(name)
  );
  assert.equal(small.length, 8);
  for (const name of small) {
    const bytes = fixture(`trees/${name}.dump`);
    const whole = format(parseDumpfile(bytes));
    for (const size of [1, 7, 511, 512, 513, 65536]) {
      await t.step(`${name} in pieces of ${size}`, () => {
        const parser = new DumpfileParser();
        const buffer = new Uint8Array(size);
        for (let at = 0; at < bytes.length; at += size) {
          const piece = bytes.subarray(at, at + size);
          buffer.set(piece);
          parser.push(buffer.subarray(0, piece.length));
          buffer.fill(0xff); // the parser must not keep it
        }
        assert.equal(format(parser.finish()), whole);
      });
    }
  }
});

Deno.test("parseDumpfile() takes numbers of any length in linear time", () => {
  const zeros = "0".repeat(4_000_000);
  const start = performance.now();
  assert.equal(parse(`/ ${zeros} 40755 2 0 0 0 ${zeros}9.0 - - -`).root.stat.mtimeSec, 9n);
  const nines = "9".repeat(4_000_000);
  assert.throws(() => parse(`/ ${nines} 40755 2 0 0 0 1.0 - - -`), {
    reason: "number too large to fit in target type",
  });
  assert.ok(performance.now() - start < 1000);
});

Deno.test("DumpfileParser bounds what it keeps of one line", () => {
  const parser = new DumpfileParser();
  const piece = new Uint8Array(1 << 20).fill(0x61);
  assert.throws(() => {
    for (let i = 0; i < 32; i++) parser.push(piece);
  }, { reason: "Line is too long" });
});

Deno.test("parseDumpfile() is linear in the number of lines, links and depth", () => {
  const lines = [ROOT, "/x 0 @100644 - - - - 0.0 /l0 - -"];
  for (let i = 0; i < 50_000; i++) lines.push(`/l${i} 0 @100644 - - - - 0.0 /l${i + 1} - -`);
  lines.push("/l50000 1 100644 1 0 0 0 1.0 - x -");
  for (let i = 1; i < 2000; i++) lines.push(`${"/d".repeat(i)} 0 40755 2 0 0 0 1.0 - - -`);
  const start = performance.now();
  const tree = parse(lines.join("\n"));
  assert.equal(lookupLeaf(tree.root, "x"), lookupLeaf(tree.root, "l50000"));
  assert.ok(performance.now() - start < 2000);
});
