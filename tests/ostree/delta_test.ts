import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FormatError, UnsupportedError } from "../../lib/base/mod.ts";
import {
  type Checksum,
  checksumBytes,
  checksumFromBytes,
  checksumOf,
  encodeCommit,
  encodeMetadata,
  Variant,
} from "../../lib/ostree/mod.ts";
import { runDeltaPart } from "../../lib/ostree/delta_machine.ts";
import {
  deltaIndexPath,
  deltaPath,
  listedDeltas,
  parseDeltaIndex,
  parseDeltaName,
} from "../../lib/ostree/delta_names.ts";
import { DeltaPart, openDeltaPart } from "../../lib/ostree/delta_part.ts";
import { Patcher } from "../../lib/ostree/delta_patch.ts";
import {
  type DeltaPartEntry,
  openDeltaEnvelope,
  parseDeltaSuperblock,
} from "../../lib/ostree/delta_superblock.ts";
import { unxz, unxzAnywhere } from "../../lib/ostree/delta_xz.ts";
import { BytesInMemory } from "../../lib/ostree/part_bytes.ts";
import { decodeVariant } from "../../lib/ostree/mod.ts";
import "../helpers/libraries.ts";
import { ROOT } from "../helpers/run.ts";
import {
  concat,
  encodePart,
  encodeSuperblock,
  fileChecksum,
  inFile,
  MemorySink,
  MemorySource,
  noScratch,
  objectList,
} from "./_delta_memory.ts";

const FIXTURES = `${ROOT}fixtures/ostree/deltas`;
const A = "07c21df612e3ecd8f5421edbaecf8d762a57859e69c937c95494a9edee43a7b2" as Checksum;
const B = "927c5470b98460a6e908a9f8539535def1566d5e11af003872b8ae1e573d9939" as Checksum;
const PATH =
  "deltas/B8/Id9hLj7Nj1Qh7brs+NdipXhZ5pyTfJVJSp7e5Dp7I-knxUcLmEYKbpCKn4U5U13vFWbV4RrwA4criuHlc9mTk";

Deno.test("deltaPath() and deltaIndexPath() name files as ostree does", () => {
  assert.equal(deltaPath({ from: A, to: B }), PATH);
  assert.equal(
    deltaPath({ from: undefined, to: A }),
    "deltas/B8/Id9hLj7Nj1Qh7brs+NdipXhZ5pyTfJVJSp7e5Dp7I",
  );
  assert.equal(
    deltaIndexPath(B),
    "delta-indexes/kn/xUcLmEYKbpCKn4U5U13vFWbV4RrwA4criuHlc9mTk.index",
  );
  const ones = "ff".repeat(32) as Checksum; // a slash in base64
  assert.equal(deltaPath({ from: undefined, to: ones }), `deltas/__/${"_".repeat(40)}8`);
});

Deno.test("parseDeltaName() reads hex names", () => {
  assert.deepEqual(parseDeltaName(A), { from: undefined, to: A });
  assert.deepEqual(parseDeltaName(`${A}-${B}`), { from: A, to: B });
  for (const bad of ["", "-", `${A}-`, `-${A}`, `${A}-${B}-${A}`, A.toUpperCase(), A.slice(1)]) {
    assert.throws(() => parseDeltaName(bad), FormatError, bad);
  }
});

Deno.test("parseDeltaIndex() lists deltas with their checksums", () => {
  const list = (entries: [string, Variant][]) =>
    encodeMetadata([["ostree.static-deltas", new Variant("a{sv}", entries)]]);
  const digest = checksumOf(new Uint8Array(0));
  const good = list([[`${A}-${B}`, new Variant("ay", checksumBytes(digest))]]);
  assert.deepEqual(parseDeltaIndex(good), [{ from: A, to: B, superblock: digest }]);
  assert.deepEqual(listedDeltas([]), []);
  for (
    const bad of [
      list([["x", new Variant("ay", checksumBytes(digest))]]),
      list([[A, new Variant("s", "x")]]),
      list([[A, new Variant("ay", new Uint8Array(31))]]),
      Uint8Array.of(1, 2, 3),
    ]
  ) assert.throws(() => parseDeltaIndex(bad), FormatError);
});

Deno.test("parseDeltaSuperblock() reads the fixtures", async (t) => {
  const cases = [
    { name: "std", size: 0x7811, usize: 0x1c3ba, inline: false },
    { name: "nobsdiff", size: 0x77e5, usize: 0x1c3ba, inline: false },
    { name: "big", size: 0x7811, usize: 0x1c3ba, inline: false },
    { name: "inline", size: 0x7811, usize: 0x1c3ba, inline: true },
  ];
  for (const { name, size, usize, inline } of cases) {
    await t.step(name, () => {
      const delta = parseDeltaSuperblock(Deno.readFileSync(`${FIXTURES}/${name}/superblock`));
      assert.equal(delta.from, A);
      assert.equal(delta.to, B);
      assert.equal(checksumOf(delta.commitBytes), B);
      assert.equal(delta.commit.parent, A);
      assert.equal(delta.commit.subject, "Second commit");
      assert.equal(delta.parts.length, 1);
      const [part] = delta.parts;
      assert.equal(part!.size, size);
      assert.equal(part!.uncompressedSize, usize);
      assert.equal(part!.objects.length, 11 * 33);
      assert.equal(part!.inline?.data.length, inline ? size - 1 : undefined);
      assert.equal(delta.fallbacks.length, 0);
      assert.equal(delta.totalSize, size);
    });
  }
});

Deno.test("openDeltaEnvelope() takes the superblock out of its signed wrapper", () => {
  const signed = openDeltaEnvelope(Deno.readFileSync(`${FIXTURES}/signed-inline.superblock`));
  const plain = Deno.readFileSync(`${FIXTURES}/inline/superblock`);
  assert.deepEqual(Buffer.from(signed.superblock), Buffer.from(plain));
  assert.deepEqual(signed.signatures?.map(([key, { type }]) => [key, type]), [
    ["ostree.sign.ed25519", "aay"],
  ]);
  assert.deepEqual(openDeltaEnvelope(plain), { superblock: plain, signatures: undefined });
  const cut = Deno.readFileSync(`${FIXTURES}/signed-inline.superblock`).subarray(0, 20);
  assert.throws(() => openDeltaEnvelope(cut), FormatError);
});

const commitBytes = encodeCommit({
  metadata: [],
  related: [],
  subject: "s",
  body: "",
  timestamp: 0n,
  rootTree: A,
  rootMeta: B,
});
const commit = decodeVariant("(a{sv}aya(say)sstayay)", commitBytes);
const to = checksumBytes(checksumOf(commitBytes));

Deno.test("parseDeltaSuperblock() refuses what makes no sense", async (t) => {
  const ok = parseDeltaSuperblock(encodeSuperblock({ to, commit }));
  assert.equal(ok.from, undefined);
  const part = [0, to, 1n, 1n, objectList([1, A])];
  const cases: [string, () => Uint8Array, RegExp][] = [
    ["empty", () => new Uint8Array(0), /superblock is empty/],
    ["hostile", () => Deno.readFileSync(`${FIXTURES}/hostile/superblock`), /Corrupted commit/],
    [
      "from of 134 bytes",
      () => encodeSuperblock({ from: new Uint8Array(134), to, commit }),
      /invalid from-checksum length 134/,
    ],
    ["to of 31 bytes", () => encodeSuperblock({ to: to.slice(1), commit }), /length 31/],
    ["another to", () => encodeSuperblock({ to: checksumBytes(A), commit }), /Corrupted commit/],
    [
      "endianness x",
      () =>
        encodeSuperblock({ to, commit, metadata: [["ostree.endianness", new Variant("y", 120)]] }),
      /unknown endianness 120/,
    ],
    [
      "object type",
      () => encodeSuperblock({ to, commit, parts: [[0, to, 1n, 1n, objectList([7, A])]] }),
      /Unknown object type 7/,
    ],
    [
      "size of 2^63",
      () => encodeSuperblock({ to, commit, parts: [[0, to, 2n ** 63n, 1n, objectList([1, A])]] }),
      /part size 9223372036854775808 is out of range/,
    ],
    [
      "inline part of another type",
      () =>
        encodeSuperblock({
          to,
          commit,
          parts: [part],
          metadata: [[
            `${deltaPath({ from: undefined, to: checksumOf(commitBytes) })}/0`,
            new Variant("s", "x"),
          ]],
        }),
      /delta part 0 has type 's'/,
    ],
    ["cut off", () => encodeSuperblock({ to, commit, parts: [part] }).slice(0, -1), /normal form/],
  ];
  for (const [name, make, message] of cases) {
    await t.step(name, () => assert.throws(() => parseDeltaSuperblock(make()), { message }));
  }
  await t.step("prerequisites", () => {
    const bytes = encodeSuperblock({ to, commit, needed: new Uint8Array(64) });
    assert.throws(() => parseDeltaSuperblock(bytes), UnsupportedError);
  });
  await t.step("version 1", () => {
    const bytes = encodeSuperblock({ to, commit, parts: [[1, to, 1n, 1n, objectList([1, A])]] });
    assert.throws(() => parseDeltaSuperblock(bytes), UnsupportedError);
  });
});

Deno.test("parseDeltaSuperblock() guesses the byte order of old deltas by their sizes", () => {
  const swap = (value: bigint) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, value, true);
    return view.getBigUint64(0, false);
  };
  for (const turn of [(value: bigint) => value, swap]) {
    const parts = [[0, to, turn(0x7811n), turn(0x1c3ban), objectList([1, A])]];
    const delta = parseDeltaSuperblock(encodeSuperblock({ to, commit, metadata: [], parts }));
    assert.equal(delta.parts[0]!.size, 0x7811);
    assert.equal(delta.parts[0]!.uncompressedSize, 0x1c3ba);
  }
});

Deno.test("unxz() gives the content, or says that there is none", async (t) => {
  const packed = Deno.readFileSync(`${FIXTURES}/std/0`).subarray(1);
  const changed = packed.slice();
  changed[3000]! ^= 1;
  const cases: [string, Uint8Array, number, RegExp][] = [
    ["over the limit", packed, 34695, /more than 34695 bytes/],
    ["cut off", packed.subarray(0, 20000), 1e6, /cut off/],
    ["cut off at the end", packed.subarray(0, -1), 1e6, /cut off/],
    ["more at the end", concat(packed, new Uint8Array(4)), 1e6, /damaged|left over/],
    ["changed", changed, 1e6, /damaged/],
    ["empty", new Uint8Array(0), 1e6, /cut off/],
    ["short", Uint8Array.of(0xfd, 0x37), 1e6, /cut off/],
  ];
  for (const [how, decompress] of Object.entries({ unxz, unxzAnywhere })) {
    const plain = await decompress(new BytesInMemory(packed), 34696, noScratch);
    assert.equal(plain.size, 34696);
    const part = new DeltaPart(plain);
    assert.equal(part.payloadSize, 34493);
    assert.equal(part.operations.length, 148);
    assert.deepEqual(part.mode(3), { uid: 0, gid: 0, mode: 0o120777 });
    for (const [name, bytes, limit, message] of cases) {
      if (how === "unxzAnywhere" && name === "more at the end") continue; // zeros are padding to it
      await t.step(`${how}: ${name}`, async () => {
        await assert.rejects(
          decompress(new BytesInMemory(bytes), limit, noScratch),
          (error) => error instanceof FormatError && message.test(error.message),
        );
      });
    }
  }
});

Deno.test("openDeltaPart() checks the part before it looks at it", async () => {
  const bytes = encodePart({ operations: [] });
  const file = concat(Uint8Array.of(0), bytes);
  const entry: DeltaPartEntry = {
    index: 3,
    checksum: checksumOf(file),
    size: file.length,
    uncompressedSize: 0,
    objects: new Uint8Array(0),
    inline: undefined,
  };
  await openDeltaPart(entry, file, noScratch);
  await openDeltaPart({ ...entry, inline: { compression: 0, data: bytes } }, undefined, noScratch);
  const other = { ...entry, checksum: A };
  await assert.rejects(openDeltaPart(other, file, noScratch), {
    message: `delta part 3 checksum mismatch: expected ${A}, got ${entry.checksum}`,
  });
  await assert.rejects(openDeltaPart(entry, undefined, noScratch), { message: "empty delta part" });
});

/** Bytes of numbers of 64 bits, magnitude and sign. */
function record(...numbers: number[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(8 * numbers.length));
  numbers.forEach((number, i) => {
    const sign = number < 0 ? 2n ** 63n : 0n;
    view.setBigUint64(8 * i, BigInt(Math.abs(number)) + sign, true);
  });
  return new Uint8Array(view.buffer);
}

Deno.test("Patcher.apply() follows the records", async (t) => {
  const source = new MemorySource(Uint8Array.of(10, 20, 30, 40));
  const cases: [string, Uint8Array, number, number[] | RegExp][] = [
    ["literals", concat(record(0, 3, 0), Uint8Array.of(1, 2, 3)), 3, [1, 2, 3]],
    ["differences wrap", concat(record(2, 0, 0), Uint8Array.of(1, 250)), 2, [11, 14]],
    [
      "back and outside",
      concat(record(2, 0, -3), Uint8Array.of(0, 0), record(3, 0, 0), Uint8Array.of(1, 2, 3)),
      5,
      [10, 20, 1, 12, 23],
    ],
    [
      "past the end",
      concat(record(1, 0, 2), Uint8Array.of(0), record(3, 1, 0), Uint8Array.of(1, 2, 3, 9)),
      5,
      [10, 41, 2, 3, 9],
    ],
    ["nothing to do", new Uint8Array(0), 0, []],
    ["cut in a record", record(0, 3, 0).slice(0, 23), 3, /cut off/],
    ["cut in literals", concat(record(0, 3, 0), Uint8Array.of(1, 2)), 3, /cut off/],
    ["too much", concat(record(2, 2, 0), Uint8Array.of(1, 2, 3, 4)), 3, /more than/],
    ["negative", concat(record(-1, 4, 0), Uint8Array.of(1, 2, 3, 4)), 3, /more than/],
    ["huge", record(2 ** 60, 0, 0), 3, /number/],
    ["only records", concat(...Array.from({ length: 9 }, () => record(0, 0, 1))), 1, /cut off/],
    ["far away", concat(...Array.from({ length: 9 }, () => record(0, 0, 2 ** 53 - 2))), 1, /far/],
  ];
  for (const [name, patch, size, expected] of cases) {
    await t.step(name, () => {
      const out: number[] = [];
      const write = (bytes: Uint8Array) => void out.push(...bytes);
      const run = () => {
        using bytes = inFile(patch);
        const used = new Patcher().apply(bytes, source, { size, write });
        const again: number[] = [];
        new Patcher().apply(new BytesInMemory(patch), source, {
          size,
          write: (bytes) => void again.push(...bytes),
        });
        assert.deepEqual(again, out);
        assert.equal(used, patch.length);
      };
      if (expected instanceof RegExp) {
        assert.throws(run, { message: expected, name: "FormatError" });
      } else {
        run();
        assert.deepEqual(out, expected);
      }
    });
  }
});

const content = new TextEncoder().encode("hello, world");
const header = { size: 12, uid: 5, gid: 6, mode: 0o100644, target: "", xattrs: new Map() };
const sum = fileChecksum(header, content);
const [O, W, SET, UNSET, PATCH, CLOSE, SPLICE] = [..."owrRBcS"].map((c) => c.charCodeAt(0)) as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
];

/** Runs operations that are to make the file `hello, world`. */
function run(
  operations: number[],
  options: { usize?: number; objects?: Uint8Array; payload?: Uint8Array; mode?: number } = {},
): MemorySink {
  // A part in a file does what a part in memory does.
  const outcome = (inFile: boolean): MemorySink | Error => {
    try {
      return runOnce(operations, { ...options, inFile });
    } catch (error) {
      return error as Error;
    }
  };
  const [memory, file] = [outcome(false), outcome(true)];
  if (memory instanceof Error || file instanceof Error) {
    assert.equal(String(file), String(memory));
    throw memory;
  }
  assert.deepEqual(file, memory);
  return memory;
}

function runOnce(
  operations: number[],
  options: {
    usize?: number;
    objects?: Uint8Array;
    payload?: Uint8Array;
    mode?: number;
    inFile: boolean;
  },
): MemorySink {
  const payload = options.payload ?? concat(checksumBytes(A), content);
  const mode = options.mode ?? header.mode;
  const plain = encodePart({ modes: [[5, 6, mode]], payload, operations });
  using bytes = options.inFile ? inFile(plain) : new BytesInMemory(plain);
  const part = new DeltaPart(bytes);
  const entry: DeltaPartEntry = {
    index: 0,
    checksum: A,
    size: 0,
    uncompressedSize: options.usize ?? 12,
    objects: options.objects ?? objectList([1, sum]),
    inline: undefined,
  };
  const sink = new MemorySink();
  const base = {
    open: (checksum: Checksum) =>
      checksum === A || checksum === B ? new MemorySource(content) : undefined,
  };
  try {
    runDeltaPart(entry, part, { base, sink, patcher: new Patcher() });
  } finally {
    assert.equal(sink.pending, 0, "open files are dropped");
  }
  return sink;
}

Deno.test("runDeltaPart() makes the same file in different ways", async (t) => {
  const patch = concat(checksumBytes(A), record(12, 0, 0), new Uint8Array(12));
  const cases: [string, number[], Uint8Array?][] = [
    ["whole", [SPLICE, 0, 0, 12, 32]],
    ["pieces", [O, 0, 0, 12, W, 5, 32, W, 7, 37, CLOSE]],
    ["from the source", [O, 0, 0, 12, SET, 0, W, 12, 0, UNSET, CLOSE]],
    ["source first", [SET, 0, O, 0, 0, 12, W, 12, 0, CLOSE, UNSET]],
    ["both", [O, 0, 0, 12, SET, 0, W, 3, 0, UNSET, W, 4, 35, SET, 0, W, 5, 7, CLOSE]],
    ["patched", [SET, 0, O, 0, 0, 12, PATCH, 32, 36, CLOSE], patch],
    ["begun and patched", [O, 0, 0, 12, SET, 0, W, 0, 0, PATCH, 32, 36, CLOSE], patch],
  ];
  for (const [name, operations, payload] of cases) {
    await t.step(name, () => {
      const sink = run(operations, payload === undefined ? {} : { payload });
      assert.deepEqual(Buffer.from(sink.files.get(sum)!), Buffer.from(content));
    });
  }
});

Deno.test("runDeltaPart() refuses operations that make no sense", async (t) => {
  const none = new Uint8Array(0);
  const big = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
  const cases: [string, number[], RegExp, Parameters<typeof run>[1]?][] = [
    ["no operations", [], /ends before object 0 of 1/],
    ["no objects", [SPLICE, 0, 0, 12, 32], /object index 0 out of range/, { objects: none }],
    ["twice", [SPLICE, 0, 0, 12, 32, SPLICE, 0, 0, 12, 32], /object index 1 out of range/],
    ["opened twice", [O, 0, 0, 12, O, 0, 0, 12], /opened inside another/],
    ["spliced inside", [O, 0, 0, 12, SPLICE, 0, 0, 12, 32], /opened inside another/],
    ["left open", [O, 0, 0, 12, W, 12, 32], /ends inside an object/],
    ["too short", [O, 0, 0, 12, W, 11, 32, CLOSE], /content of 11 bytes where 12/],
    ["too long", [O, 0, 0, 12, W, 13, 31], /content of 13 bytes where 12/],
    ["write outside", [W, 1, 0], /without an open object/],
    ["close outside", [CLOSE], /close without an open object/],
    ["patch outside", [SET, 0, PATCH, 0, 4], /without an open object/],
    ["patch without source", [O, 0, 0, 12, PATCH, 0, 4], /BSPATCH without read source/],
    [
      "closing drops the source",
      [
        ...[O, 0, 0, 12, SET, 0, W, 12, 0, CLOSE],
        ...[O, 0, 0, 12, PATCH, 0, 0],
      ],
      /BSPATCH without/,
      { objects: objectList([1, sum], [1, sum]), usize: 24 },
    ],
    ["source outside", [SET, 13], /payload slice 13\.\.45 out of range \(len=44\)/],
    ["no such source", [SET, 12], /SET_READ_SOURCE object .* not found in base commit/],
    ["beyond the source", [O, 0, 0, 12, SET, 0, W, 12, 1], /source slice 1\.\.13 out of range/],
    ["beyond the payload", [SPLICE, 0, 0, 12, 33], /payload slice 33\.\.45 out of range/],
    ["another content", [SPLICE, 0, 0, 12, 31], /Corrupted file object/],
    ["another content in pieces", [O, 0, 0, 12, W, 12, 31, CLOSE], /Corrupted file object/],
    ["mode", [SPLICE, 1, 0, 12, 32], /mode index 1 out of range/],
    ["xattrs", [SPLICE, 0, 1, 12, 32], /xattr index 1 out of range/],
    ["opcode", [0x20], /unknown delta opcode 0x20/],
    ["cut", [SPLICE, 0, 0, 0x8c], /varint extends past end/],
    ["long", [SPLICE, ...Array(11).fill(0x80)], /varint too long/],
    ["large", [SPLICE, 0, 0, 12, ...big], /payload offset overflow/],
    ["announced less", [SPLICE, 0, 0, 12, 32], /more than the announced 11 bytes/, { usize: 11 }],
    ["announced less in pieces", [O, 0, 0, 12], /more than the announced 11/, { usize: 11 }],
    ["device", [SPLICE, 0, 0, 12, 32], /not a valid file type/, { mode: 0o020644 }],
    ["link in pieces", [O, 0, 0, 12], /Symbolic link/, { mode: 0o120777 }],
    ["directory opened", [O, 0, 0, 12], /dirtree object opened as a file/, {
      objects: objectList([2, sum]),
    }],
    ["metadata", [SPLICE, 12, 32], /Corrupted dirmeta object/, { objects: objectList([3, sum]) }],
  ];
  for (const [name, operations, message, options] of cases) {
    await t.step(name, () => assert.throws(() => run(operations, options), { message }));
  }
});

Deno.test("runDeltaPart() makes symbolic links and metadata", () => {
  const link = { ...header, size: 0, mode: 0o120777, target: "hello, world" };
  const linkSum = fileChecksum(link, new Uint8Array(0));
  const sink = run([SPLICE, 0, 0, 12, 32], {
    mode: 0o120777,
    objects: objectList([1, linkSum]),
    usize: 0, // targets are not counted
  });
  assert.deepEqual([...sink.files.keys()], [linkSum]);
  const metaSum = checksumOf(content);
  const meta = run([SPLICE, 12, 32], { objects: objectList([3, metaSum]) });
  assert.deepEqual(Buffer.from(meta.meta.get(metaSum)!), Buffer.from(content));
});

Deno.test("runDeltaPart() opens a bounded number of sources and applies a bounded number of patches", () => {
  const ids = concat(checksumBytes(A), checksumBytes(B), content);
  const alternate = Array(4).fill([SET, 0, SET, 32]).flat();
  const sources = [...alternate.slice(0, 8), SPLICE, 0, 0, 12, 64];
  assert.equal(run(sources, { payload: ids }).files.size, 1);
  assert.throws(() => run([...alternate, SPLICE, 0, 0, 12, 64], { payload: ids }), {
    message: "too many read sources",
  });
  // A patch of nothing but empty records, then one byte: slow to apply, so not again and again.
  const one = Uint8Array.of(7);
  const oneSum = fileChecksum({ ...header, size: 1 }, one);
  const records = Array.from({ length: 100 }, () => record(0, 0, 0));
  const patch = concat(...records, record(0, 1, 0), one);
  const payload = concat(checksumBytes(A), patch);
  const file = [SET, 0, O, 0, 0, 1, PATCH, 32, 0xff, 0x7f, CLOSE];
  file[8] = (patch.length & 0x7f) | 0x80;
  file[9] = patch.length >> 7;
  const files = (count: number) =>
    run(Array(count).fill(file).flat(), {
      payload,
      objects: objectList(...Array(count).fill([1, oneSum])),
      usize: count,
    });
  assert.equal(files(2).files.size, 1);
  assert.throws(() => files(3), { message: "patches larger than payload" });
});

Deno.test("superblocks and parts are what another reader says they are", async (t) => {
  for (const name of ["std", "nobsdiff", "big", "inline", "scratch", "hostile"]) {
    await t.step(name, async () => {
      const text = Deno.readTextFileSync(`${FIXTURES}/${name}/decoded.txt`);
      const bytes = Deno.readFileSync(`${FIXTURES}/${name}/superblock`);
      const said = /^superblock len (\d+) sha256 ([0-9a-f]+)$/m.exec(text)!;
      assert.deepEqual([bytes.length, checksumOf(bytes)], [Number(said[1]), said[2]]);
      if (name === "hostile") return assert.throws(() => parseDeltaSuperblock(bytes), /Corrupted/);
      const entry = parseDeltaSuperblock(bytes).parts[0]!;
      const [, sum, count] = /^part 0 .* csum ([0-9a-f]+) size \S+ usize \S+ nobj (\d+)$/m.exec(
        text,
      )!;
      assert.deepEqual([entry.checksum, entry.objects.length], [sum, Number(count) * 33]);
      const file = entry.inline === undefined
        ? Deno.readFileSync(`${FIXTURES}/${name}/0`)
        : undefined;
      using open = await openDeltaPart(entry, file, noScratch);
      const { part } = open;
      const [, payload, operations] = /^ {2}payload (\d+) ops (\d+) /m.exec(text)!;
      assert.equal(part.payloadSize, Number(payload));
      assert.equal(part.operations.length, Number(operations));
      for (
        const [, at, owners, mode] of text.matchAll(/mode\[(\d+)\] \[(\d+, \d+), '0o(\d+)'\]/g)
      ) {
        const found = part.mode(Number(at));
        assert.equal(`${found.uid}, ${found.gid}`, owners);
        assert.equal(found.mode.toString(8), mode);
      }
      const ids = [...text.matchAll(/\(([23]), '([0-9a-f]{64})'\)/g)];
      ids.forEach(([, kind, id], index) => {
        const at = index * 33;
        assert.equal(entry.objects[at], Number(kind));
        assert.equal(checksumFromBytes(entry.objects.subarray(at + 1, at + 33)), id);
      });
      assert.ok(ids.length >= 5);
    });
  }
});
