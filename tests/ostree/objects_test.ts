import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { inflateRawSync } from "node:zlib";
import { FormatError } from "../../lib/base/mod.ts";
import {
  checksumBytes,
  checksumOf,
  contentChecksum,
  decodeVariant,
  encodeArchiveHeader,
  encodeCommit,
  encodeDirMeta,
  encodeDirTree,
  encodeStreamHeader,
  encodeVariant,
  isSymlink,
  parseArchiveHeader,
  parseCommit,
  parseDirMeta,
  parseDirTree,
  parseFrame,
  Variant,
  type VariantValue,
} from "../../lib/ostree/mod.ts";
import { FIXTURES } from "./_local.ts";

interface ObjectFixture {
  file: string;
  type: string;
  checksum: string;
  len: number;
}

const objects: ObjectFixture[] = JSON.parse(
  Deno.readTextFileSync(`${FIXTURES}objects/objects.json`),
);

Deno.test("Objects of the fixtures are parsed and come out as they went in", async (t) => {
  for (const { file, type, checksum, len } of objects) {
    await t.step(`${type}: ${file}`, () => {
      const bytes = Deno.readFileSync(`${FIXTURES}objects/${file}`);
      assert.equal(bytes.length, len);
      if (file.endsWith(".filez")) {
        const end = 8 + parseFrame(bytes);
        const header = parseArchiveHeader(bytes.subarray(8, end));
        assert.deepEqual(encodeArchiveHeader(header), bytes.slice(0, end));
        const rest = bytes.subarray(end);
        assert.equal(rest.length === 0, isSymlink(header));
        const content = rest.length === 0 ? rest : inflateRawSync(rest);
        assert.equal(content.length, header.size);
        assert.equal(checksumOf(encodeStreamHeader(header), content), checksum);
        return;
      }
      assert.equal(checksumOf(bytes), checksum);
      const again = type === "commit"
        ? encodeCommit(parseCommit(bytes))
        : type === "dirtree"
        ? encodeDirTree(parseDirTree(bytes))
        : encodeDirMeta(parseDirMeta(bytes));
      assert.deepEqual(again, bytes);
    });
  }
});

Deno.test("The fields of a commit are what GLib shows", () => {
  const commit = parseCommit(Deno.readFileSync(`${FIXTURES}objects/commitA.commit`));
  assert.equal(commit.subject, "First commit");
  assert.equal(commit.body, "Body line 1\nBody line 2");
  assert.equal(commit.timestamp, 1704164645n);
  assert.equal(commit.parent, undefined);
  assert.deepEqual(commit.metadata.map(([key, { type }]) => `${key} ${type}`), [
    "version s",
    "my.uint u",
    "my.t t",
    "my.b b",
    "my.as as",
    "my.ay y",
    "my.dict a{sv}",
    "ostree.ref-binding as",
  ]);
  const joined = [...checksumBytes(commit.rootTree), ...checksumBytes(commit.rootMeta)];
  assert.equal(contentChecksum(commit), checksumOf(Uint8Array.from(joined)));
});

/** Values with the bytes that GLib makes of them. */
const VALUES: readonly [type: string, value: VariantValue, hex: string][] = [
  ["y", 5, "05"],
  ["b", true, "01"],
  ["n", -2, "feff"],
  ["u", 0x01020304, "04030201"],
  ["t", 2n ** 64n - 1n, "ffffffffffffffff"],
  ["x", -1n, "ffffffffffffffff"],
  ["s", "é", "c3a900"],
  ["ay", Uint8Array.of(1, 2), "0102"],
  ["as", [], ""],
  ["as", ["a", "bc"], "610062630002" + "05"],
  ["(yu)", [1, 2], "0100000002000000"],
  ["(uy)", [2, 1], "0200000001000000"],
  ["()", [], "00"],
  ["(ss)", ["a", "b"], "6100620002"],
  ["(sy)", ["a", 7], "61000702"],
  ["a(uuu)", [[1, 2, 3]], "010000000200000003000000"],
  ["a{sv}", [["k", new Variant("u", 1)]], "6b00000000000000010000000075020f"],
  ["v", new Variant("s", "x"), "78000073"],
  ["mu", null, ""],
  ["mu", [7], "07000000"],
  ["ms", ["a"], "610000"],
  ["aay", [Uint8Array.of(1), Uint8Array.of()], "010101"],
];

Deno.test("Values are written and read in normal form", async (t) => {
  for (const [type, value, hex] of VALUES) {
    await t.step(`${type} ${hex}`, () => {
      assert.equal(Buffer.from(encodeVariant(type, value)).toString("hex"), hex);
      const decoded = decodeVariant(type, Buffer.from(hex, "hex"));
      assert.deepEqual(encodeVariant(type, decoded), encodeVariant(type, value));
    });
  }
});

Deno.test("Framing offsets grow with the container and are the smallest that do", () => {
  for (const count of [1, 60, 84, 85, 86, 127, 128, 129, 21844, 21845, 21846, 40000]) {
    const value = Array.from({ length: count }, (_, i) => (i % 10).toString());
    const bytes = encodeVariant("as", value);
    const width = bytes.length <= 0xff ? 1 : bytes.length <= 0xffff ? 2 : 4;
    assert.equal(bytes.length, 2 * count + width * count, `${count} strings`);
    assert.deepEqual(decodeVariant("as", bytes), value);
  }
});

/** What is not in normal form, by what is wrong with it. */
const NOT_NORMAL: readonly [what: string, type: string, hex: string][] = [
  ["a boolean of 2", "b", "02"],
  ["a number of the wrong size", "u", "010203"],
  ["a string without NUL", "s", "61"],
  ["an empty string without NUL", "s", ""],
  ["a NUL inside", "s", "61006200"],
  ["a string that is not UTF-8", "s", "ff00"],
  ["an overlong form", "s", "c08000"],
  ["a surrogate", "s", "eda08000"],
  ["an array of half an element", "au", "0102"],
  ["an offset beyond the end", "as", "610009"],
  ["offsets that go back", "as", "6100620004" + "02"],
  ["a table of no whole offsets", "a(say)", "00".repeat(300)],
  ["an array of unused bytes", "as", "61000003"],
  ["padding that is not zero", "(yu)", "0100000102000000"],
  ["padding at the end that is not zero", "(uy)", "0200000001000001"],
  ["an empty tuple of another byte", "()", "01"],
  ["unused bytes in a tuple", "(sy)", "6100070002"],
  ["a member that ends too late", "(ss)", "6100620009"],
  ["a variant without a type", "v", "61"],
  ["a variant of no type", "v", "6100"],
  ["a variant of two types", "v", "0000797900"],
  ["a maybe of half a value", "mu", "0700"],
  ["a maybe without its end", "ms", "6161"],
  ["offsets that are too wide", "as", "6100" + "0200"],
  ["no bytes for a tuple", "(ss)", ""],
];

Deno.test("What is not in normal form is refused", async (t) => {
  for (const [what, type, hex] of NOT_NORMAL) {
    await t.step(what, () => {
      assert.throws(() => decodeVariant(type, Buffer.from(hex, "hex")), FormatError);
    });
  }
});

Deno.test("Nesting and type strings are bounded", () => {
  let value: VariantValue = 1;
  let type = "y";
  for (let i = 0; i < 100; i++) {
    value = new Variant(type, value);
    type = "v";
  }
  assert.throws(() => decodeVariant("v", encodeVariant("v", value)), FormatError);
  for (
    const text of ["a".repeat(100) + "y", "(".repeat(5000), "(y", "{vs}", "{s}", "z", "", "yy"]
  ) {
    assert.throws(() => decodeVariant(text, new Uint8Array(8)), FormatError, text.slice(0, 9));
  }
});

Deno.test("Impossible files are refused", async (t) => {
  const good = { size: 0, uid: 0, gid: 0, mode: 0o100644, target: "", xattrs: new Map() };
  const cases: [string, Partial<typeof good>, RegExp][] = [
    ["a directory", { mode: 0o040755 }, /not a valid file type/],
    ["a device", { mode: 0o020666 }, /not a valid file type/],
    ["no type", { mode: 0o644 }, /not a valid file type/],
    ["bits beyond the mode", { mode: 0o300644 }, /Invalid file metadata mode/],
    ["a link without a target", { mode: 0o120777 }, /without a target/],
    ["a link with content", { mode: 0o120777, target: "x", size: 1 }, /content/],
    ["a link with a long target", { mode: 0o120777, target: "x".repeat(4096) }, /too long/],
    ["a file with a target", { target: "x" }, /target/],
  ];
  for (const [name, change, message] of cases) {
    await t.step(name, () => {
      const header = { ...good, ...change };
      const type = "(tuuuusa(ayay))";
      const size = Buffer.alloc(8);
      size.writeBigUInt64BE(BigInt(header.size));
      const mode = Buffer.alloc(4);
      mode.writeUInt32BE(header.mode);
      const variant = encodeVariant(type, [
        size.readBigUInt64LE(),
        0,
        0,
        mode.readUInt32LE(),
        0,
        header.target,
        [],
      ]);
      assert.throws(() => parseArchiveHeader(variant), message);
    });
  }
});

Deno.test("Headers without target and attributes are read as strictly as others", async (t) => {
  const plain = { size: 2 ** 53 - 1, uid: 2 ** 32 - 1, gid: 7, mode: 0o106755, target: "" };
  const header = { ...plain, xattrs: new Map<string, string>() };
  const variant = encodeArchiveHeader(header).subarray(8);
  assert.deepEqual(parseArchiveHeader(variant), header);
  // With an attribute the same fields go the general way.
  const other = { ...plain, xattrs: new Map([["user.a", "1"]]) };
  assert.deepEqual(parseArchiveHeader(encodeArchiveHeader(other).subarray(8)), other);
  const cases: [string, number, number, RegExp][] = [
    ["a device number", 23, 1, /Invalid file device number 1/],
    ["more bytes than numbers hold exactly", 0, 0x7f, /file size/],
    ["a string without its NUL", 24, 0x61, /Not normal form/],
    ["another place of the attributes", 25, 24, /Not normal form/],
    ["a place after the end", 25, 26, /Not normal form/],
  ];
  for (const [name, at, byte, message] of cases) {
    await t.step(name, () => {
      const changed = variant.slice();
      changed[at] = byte;
      assert.throws(
        () => parseArchiveHeader(changed),
        (error) => error instanceof FormatError && message.test(error.message),
      );
    });
  }
});
