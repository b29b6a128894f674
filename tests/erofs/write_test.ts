import assert from "node:assert/strict";
import { FormatError, type HashName } from "../../lib/base/mod.ts";
import { DumpfileError, parseDumpfile } from "../../lib/dumpfile/mod.ts";
import { type ErofsVersion, writeImage } from "../../lib/erofs/mod.ts";
import { hasWhiteout } from "../../lib/tree/mod.ts";
import { fixture, fixtureText } from "./_fixtures.ts";
import { digestOf, dumpfileImageId } from "./_image_id.ts";

/** The rows of a golden table without its heading. */
function rows(path: string): string[][] {
  const lines = fixtureText(path).trimEnd().split("\n").filter((line) => !line.startsWith("#"));
  return lines.map((line) => line.split("\t"));
}

Deno.test("writeImage() gives the peer's image ids for all trees", async (t) => {
  for (const [file, hash, version, digest] of rows("trees/digests.tsv")) {
    await t.step(`${file} v${version}`, () => {
      const options = { version: Number(version) as ErofsVersion, hash: hash as HashName };
      assert.equal(dumpfileImageId(fixture(`trees/${file}`), options), digest);
    });
  }
});

Deno.test("writeImage() gives the C tools' image ids in the c dialect", async (t) => {
  for (const [file, version, digest] of rows("trees/c-digests.tsv")) {
    await t.step(`${file} v${version}`, () => {
      const options = { version: Number(version) as ErofsVersion, dialect: "c" as const };
      assert.equal(dumpfileImageId(fixture(`trees/${file}`), options), digest);
    });
  }
});

Deno.test("writeImage() places what does not fit as the peers do", async (t) => {
  for (const [file, text, c, rs] of rows("layout/digests.tsv")) {
    const version = Number(text) as ErofsVersion;
    await t.step(`${file} v${version}`, () => {
      const dumpfile = fixture(`layout/${file}`);
      assert.equal(dumpfileImageId(dumpfile, { version, dialect: "c" }), c);
      if (/^[0-9a-f]{64}$/.test(rs!)) {
        assert.equal(dumpfileImageId(dumpfile, { version }), rs);
      } else {
        const reason = rs!.replace(/^\s*1: /, "");
        assert.throws(() => dumpfileImageId(dumpfile, { version }), { reason });
      }
    });
  }
});

Deno.test("writeImage() gives the peer's images byte for byte", async (t) => {
  for (const [name, id, size] of rows("images/images.tsv")) {
    // The dumpfile of `mix` has a sha256 digest: its sha512 images are for the reader's tests.
    if (name!.startsWith("mix.") && name!.includes("sha512")) continue;
    await t.step(name!, () => {
      const [, tree, version, hash] = /^(.*)\.v(.)\.(sha...)\.img$/.exec(name!)!;
      const dumpfile = tree === "mix" ? MIX : fixtureText(`trees/${tree}.${hash}.dump`);
      const options = { version: Number(version) as ErofsVersion, hash: hash as HashName };
      const image = writeImage(parseDumpfile(new TextEncoder().encode(dumpfile), options), options);
      assert.equal(image.length, Number(size));
      assert.equal(`${hash}:${digestOf(image, options.hash)}`, id);
      assert.deepEqual(image, fixture(`images/${name}`));
    });
  }
});

/** The example of the specification's section on dumpfiles. */
const MIX = [
  "/ 0 40755 3 0 0 0 1000.0 - - -",
  "/aa 1 100644 1 0 0 0 1000.0 - u -",
  "/d 0 40755 3 0 0 0 1000.0 - - -",
  "/d/big 5000 100644 1 0 0 0 1000.0 " +
  "be/bc3858ec4c632a45e304b7aa47c961699f755f5285b8c215d9dae188f51bc2 - " +
  "bebc3858ec4c632a45e304b7aa47c961699f755f5285b8c215d9dae188f51bc2",
  "/d/f 2 100644 1 0 0 0 1000.0 - hi -",
  "/d/l 1 120777 1 0 0 0 1000.0 f - -",
  "/d/sub 0 40755 2 0 0 0 1000.0 - - - trusted.overlay.opaque=y",
  "/d/wh 0 20600 1 0 0 0 1000.0 - - -",
  "/wh 0 20644 1 0 0 0 1000.0 - - -",
  "",
].join("\n");

/**
 * Rows where we differ from a peer on purpose (specification 6), per dialect: the reason of our
 * error, or the ids of our images in formats 0 and 1.
 */
const OURS: Readonly<Record<string, { rs?: string | [string, string]; c?: string }>> = {
  // Negative times have two spellings; both peers' spellings are read.
  "neg-mtime.dump": {
    rs: [
      "5de38ac4185685324c69c7bff8209f19b453c2465e560dd093304dedf7398b19",
      "8e8cab9180c05efdd9a7ed4dadc268dd6d95abc24441596a3ae31b39ad1e42d6",
    ],
  },
  // Bytes need not be UTF-8.
  "raw-nonutf8.dump": {
    rs: [
      "049d897fc49a09eccedcdf8e7d8c401a84aac7a7afbb0aca91d8d504e9949b7c",
      "122ccea979fae17107a2613f9912752bf3af5be9e02a018474fe130c1598634c",
    ],
  },
  "size-mismatch.dump": { rs: "Invalid content size 3, must match size 10" },
  // C takes a digest of one byte.
  "short-digest.dump": { c: "Invalid string length" },
  "dup.dump": { rs: "Duplicate entry" },
  "dup-root.dump": { rs: "Can't have multiple roots" },
  "name256.dump": { rs: "File name is too long: 256 bytes" },
  "rdev-2e32.dump": {
    rs: "device number 4294967296 does not fit in 32 bits",
    c: "device number 4294967296 does not fit in 32 bits",
  },
  "uid-2e32.dump": { c: "number too large to fit in target type" },
  "xattr-emptykey.dump": { rs: "Invalid empty xattr name" },
  "xattr-nul-key.dump": { c: "Invalid embedded NUL" },
  "whiteout-hl.dump": { c: 'invalid dumpfile: whiteout entry "/a" has nlink > 1' },
  "whiteout-hl-nlink1.dump": {
    c: "invalid composefs filesystem: whiteout inode has nlink > 1",
  },
  "size-2e53-plus1.dump": { rs: "number too large to fit in target type" },
};

/** The reason in the reference's error output of a row. */
function reasonOf(output: string): string {
  const numbered = /\| 1: (.*?)\|/.exec(output);
  const plain = /Caused by:\| (.*?)\|/.exec(output) ?? /^Error: (.*?)\|/.exec(output);
  return (numbered ?? plain)![1]!;
}

function reasonFor(run: () => string): string {
  try {
    return `(no error, image ${run()})`;
  } catch (error) {
    if (error instanceof DumpfileError) return error.reason;
    assert.ok(error instanceof FormatError, String(error));
    return error.message;
  }
}

Deno.test("parseDumpfile() and writeImage() accept what the peers accept, or better", async (t) => {
  for (const row of rows("cases/cases.tsv")) {
    const [file, cDefault, c0, c1, rs0, rs1, rsError] = row as [string, ...string[]];
    const dumpfile = fixture(`cases/${file}`);
    const id = (dialect: "rs" | "c", version: ErofsVersion) => () =>
      dumpfileImageId(dumpfile, { version, dialect });
    await t.step(`${file}: rs`, () => {
      const ours = OURS[file]?.rs;
      if (Array.isArray(ours)) {
        assert.deepEqual([id("rs", 0)(), id("rs", 1)()], ours);
      } else if (ours !== undefined || rs0 === "error") {
        assert.equal(reasonFor(id("rs", 1)), ours ?? reasonOf(rsError!));
      } else {
        assert.deepEqual([id("rs", 0)(), id("rs", 1)()], [rs0, rs1]);
      }
    });
    await t.step(`${file}: c`, () => {
      const ours = OURS[file]?.c;
      if (ours !== undefined) {
        assert.equal(reasonFor(id("c", 1)), ours);
      } else if (c0 === "error") {
        assert.throws(id("c", 0), FormatError);
        assert.throws(id("c", 1), FormatError);
      } else {
        assert.deepEqual([id("c", 0)(), id("c", 1)()], [c0, c1]);
        const raised = hasWhiteout(parseDumpfile(dumpfile, { dialect: "c" }));
        assert.equal(id("c", raised ? 1 : 0)(), cDefault);
      }
    });
  }
});
