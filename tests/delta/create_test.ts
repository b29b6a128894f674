import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.0";
import type { ObjectId } from "../../lib/base/mod.ts";
import {
  ContentIndex,
  divideLayer,
  listContents,
  memoryFile,
  type NewFile,
  type OldContents,
  Pairer,
  PartDiffer,
  sourceNotFound,
  TAR_DIFF_OP,
  TarDiffPatcher,
  TarDiffReader,
  TarDiffWriter,
  type TargetCompat,
} from "../../lib/delta/mod.ts";
import { Directory, Leaf, NO_XATTRS, type Stat } from "../../lib/tree/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";

const MIB = 2 ** 20;
const OP_NAMES = ["DATA", "OPEN", "COPY", "ADD", "SEEK"];
const STAT: Stat = { mode: 0o644, uid: 0, gid: 0, mtimeSec: 0n, mtimeNsec: 0, xattrs: NO_XATTRS };

/** The operations that `write` makes, as plain text. */
function written(write: (writer: TarDiffWriter) => void): Buffer {
  const pieces: Uint8Array[] = [];
  const writer = new TarDiffWriter((piece) => pieces.push(piece));
  write(writer);
  writer.finish();
  return Buffer.concat(pieces);
}

/** Operations as lines of text. */
function lines(text: Uint8Array): string[] {
  const reader = new TarDiffReader();
  reader.feed(text);
  const out: string[] = [];
  for (let step = reader.next(); step !== "more"; step = reader.next()) {
    if (!reader.first) continue;
    out.push(`${OP_NAMES[step]} ${step === TAR_DIFF_OP.open ? reader.path : reader.n}`);
  }
  reader.finish();
  return out;
}

/** An old image in memory. */
class Old implements OldContents {
  readonly files: readonly Uint8Array[];

  constructor(files: readonly Uint8Array[]) {
    this.files = files;
  }

  size(content: number): number {
    return this.files[content]!.length;
  }

  path(content: number): string {
    return `f/${content}`;
  }

  read(content: number, buffer: Uint8Array, position: number): number {
    const part = this.files[content]!.subarray(position, position + buffer.length);
    buffer.set(part);
    return part.length;
  }

  index(): ContentIndex {
    const index = ContentIndex.create(this.files.map((file) => file.length));
    for (const [i, file] of this.files.entries()) index.insert(i, file);
    return index;
  }

  /** Carries operations out. */
  apply(text: Uint8Array): Buffer {
    const patcher = new TarDiffPatcher({
      source: {
        open: (path) => {
          const file = this.files[Number(/^f\/([0-9]+)$/.exec(path)?.[1])];
          if (file === undefined) throw sourceNotFound(path, "it is not there");
          return memoryFile(file);
        },
      },
    });
    const pieces: Uint8Array[] = [];
    for (const piece of patcher.push(text)) pieces.push(piece.slice());
    return Buffer.concat([...pieces, patcher.finish()]);
  }
}

/** A layer of files with a header in front of each. */
function layerOf(
  files: readonly { bytes: Uint8Array; content: number; same?: boolean }[],
): { bytes: Buffer; files: NewFile[] } {
  const parts: Uint8Array[] = [];
  const places: NewFile[] = [];
  let at = 0;
  for (const { bytes, content, same } of files) {
    const head = new TextEncoder().encode(`header of ${bytes.length} bytes\n`);
    parts.push(head, bytes);
    at += head.length;
    const path = content < 0 ? "" : `f/${content}`;
    places.push({ offset: at, size: bytes.length, content, path, same: same ?? false });
    at += bytes.length;
  }
  return { bytes: Buffer.concat(parts), files: places };
}

/** Diffs a layer part by part and checks that it comes out again. */
function diffed(
  old: Old,
  layer: ReturnType<typeof layerOf>,
  index: ContentIndex | undefined = old.index(),
): Buffer {
  const differ = new PartDiffer({ old, index });
  const texts: Uint8Array[] = [];
  for (const part of divideLayer(layer.files, layer.bytes.length)) {
    texts.push(written((writer) =>
      differ.diff(part, (buffer, position) => {
        buffer.set(layer.bytes.subarray(position, position + buffer.length));
      }, writer)
    ));
  }
  const text = Buffer.concat(texts);
  assert.ok(old.apply(text).equals(layer.bytes));
  return text;
}

function random(rng: Rng, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => rng.below(256));
}

/** Changes a few bytes, and takes out, repeats or inserts stretches. */
function edited(rng: Rng, bytes: Uint8Array, edits: number): Uint8Array {
  let out = Buffer.from(bytes);
  for (let i = 0; i < edits && out.length > 0; i++) {
    const at = rng.below(out.length);
    const length = rng.below(200);
    const kind = rng.below(4);
    if (kind === 0) out[at] = rng.below(256);
    else {
      const middle = kind === 1
        ? Buffer.alloc(0)
        : kind === 2
        ? out.subarray(at, at + length)
        : random(rng, length);
      out = Buffer.concat([
        out.subarray(0, at),
        middle,
        out.subarray(kind === 1 ? at + length : at),
      ]);
    }
  }
  return out;
}

Deno.test("TarDiffWriter writes no more operations than needed", async (t) => {
  const zeros = (length: number) => new Uint8Array(length);
  const cases: [string, (writer: TarDiffWriter) => void, string[]][] = [
    ["nothing", () => {}, []],
    ["empty operations", (w) => {
      w.data(zeros(0));
      w.copy("a", 5, 0);
      w.add("a", 5, zeros(0));
    }, []],
    ["data in pieces", (w) => {
      w.data(zeros(3));
      w.data(zeros(4));
    }, ["DATA 7"]],
    ["data of more than a mebibyte", (w) => w.data(zeros(MIB + 1)), [`DATA ${MIB}`, "DATA 1"]],
    ["copies that follow on", (w) => {
      w.copy("a", 0, 3);
      w.copy("a", 3, 4);
    }, ["OPEN a", "COPY 7"]],
    ["copies elsewhere in the file", (w) => {
      w.copy("a", 10, 3);
      w.copy("a", 0, 4);
      w.data(zeros(1));
      w.copy("a", 4, 1);
    }, ["OPEN a", "SEEK 10", "COPY 3", "SEEK 0", "COPY 4", "DATA 1", "COPY 1"]],
    ["another file and back", (w) => {
      w.copy("a", 0, 3);
      w.copy("b", 0, 3);
      w.copy("a", 3, 3);
    }, ["OPEN a", "COPY 3", "OPEN b", "COPY 3", "OPEN a", "SEEK 3", "COPY 3"]],
    ["an add of zeros", (w) => {
      w.copy("a", 0, 3);
      w.add("a", 3, zeros(4));
    }, ["OPEN a", "COPY 7"]],
    ["adds that follow on", (w) => {
      w.add("a", 0, Uint8Array.of(1));
      w.add("a", 1, Uint8Array.of(2, 0));
      w.copy("a", 3, 1);
      w.add("a", 9, Uint8Array.of(1));
    }, ["OPEN a", "ADD 3", "COPY 1", "SEEK 9", "ADD 1"]],
    ["an add of more than two mebibytes", (w) => {
      w.add("a", 1, new Uint8Array(2 * MIB + 5).fill(1));
    }, ["OPEN a", "SEEK 1", `ADD ${MIB}`, `ADD ${MIB}`, "ADD 5"]],
    ["a place behind four gibibytes", (w) => w.copy("a", 2 ** 40 + 3, 2 ** 33), [
      "OPEN a",
      `SEEK ${2 ** 40 + 3}`,
      `COPY ${2 ** 33}`,
    ]],
  ];
  for (const [name, write, expected] of cases) {
    await t.step(name, () => assert.deepEqual(lines(written(write)), expected));
  }
});

Deno.test("PartDiffer makes layers that come out again", async (t) => {
  const rng = new Rng(seed());
  await t.step("whatever the files and what is said of them", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.tuple(fc.nat(255), fc.nat(5000)).map(([byte, length]) =>
        new Uint8Array(length).fill(byte)
      ),
      fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(200)).map(([part, times]) =>
        new Uint8Array(Buffer.concat(Array.from({ length: times }, () => part)))
      ),
    );
    fc.assert(
      fc.property(
        fc.array(bytes, { minLength: 1, maxLength: 5 }),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: -1, max: 4 }), fc.nat(6)), { maxLength: 6 }),
        fc.boolean(),
        (contents, picks, indexed) => {
          const old = new Old(contents);
          const layer = layerOf(picks.map(([from, content, edits]) => ({
            bytes: edited(rng, contents[from % contents.length]!, edits),
            content: content < contents.length ? content : -1,
          })));
          diffed(old, layer, indexed ? old.index() : undefined);
        },
      ),
      { seed: seed(), numRuns: 300 },
    );
  });
  await t.step("files that are larger than what is compared at a time", () => {
    const base = random(rng, 256 * 1024);
    const large = Buffer.alloc(40 * MIB);
    for (let at = 0; at < large.length; at += base.length) large.set(base, at);
    for (let at = 0; at < large.length; at += 4096) large.writeUInt32LE(at, at);
    const fresh = Buffer.concat([random(rng, 1000), large.subarray(0, 39 * MIB)]);
    const text = diffed(new Old([large]), layerOf([{ bytes: fresh, content: 0 }]));
    assert.ok(text.length < 100_000, `${text.length} bytes`);
  });
});

Deno.test("PartDiffer finds what there is to find", async (t) => {
  const rng = new Rng(seed());
  const a = random(rng, 20_000);
  const b = random(rng, 30_000);
  const old = new Old([a, b]);
  const size = (bytes: Uint8Array, content: number, indexed = true) =>
    diffed(old, layerOf([{ bytes, content }]), indexed ? old.index() : undefined).length;
  await t.step("a file with another name, wherever it is", () => {
    assert.ok(size(Buffer.concat([random(rng, 100), b]), -1) < 200);
    assert.ok(size(b, 0) < 100, "the file of the same name has nothing of it");
  });
  await t.step("parts of two files", () => {
    assert.ok(size(Buffer.concat([a.subarray(5000), b.subarray(1, 9000)]), 0) < 100);
    assert.ok(size(Buffer.concat([b.subarray(700, 8000), a.subarray(0, 4444)]), 0) < 100);
  });
  await t.step("a few bytes of one file in another", () => {
    assert.ok(size(Buffer.concat([a.subarray(0, 9000), b.subarray(77, 277), a]), 0) < 100);
  });
  await t.step("the file of the same name without an index", () => {
    assert.ok(size(Buffer.concat([a.subarray(3000), a.subarray(0, 3100)]), 0, false) < 60);
  });
  await t.step("code whose addresses have moved", () => {
    const code = Buffer.from(a);
    for (let at = 0; at + 4 < code.length; at += 40) {
      code.writeInt32LE(code.readInt32LE(at) + 64 | 0, at);
    }
    const text = diffed(old, layerOf([{ bytes: code, content: 0 }]));
    const ops = lines(text).map((line) => line.split(" ")[0]);
    assert.deepEqual(ops.filter((op) => op !== "ADD" && op !== "COPY"), ["DATA", "OPEN"]);
    assert.ok(text.filter((byte) => byte !== 0).length < 3000, "most of what is added is zero");
  });
});

Deno.test("PartDiffer takes time in proportion when everything looks alike", () => {
  const zeros = new Uint8Array(4 * MIB);
  const period = Uint8Array.from({ length: 4 * MIB }, (_, i) => i % 3);
  const ramp = Uint8Array.from({ length: 4 * MIB }, (_, i) => (i >> 9) & 0xff);
  const old = new Old([zeros, period, ramp]);
  const start = performance.now();
  for (const bytes of [zeros.subarray(1), period.subarray(5), ramp.subarray(700)]) {
    const dotted = bytes.slice();
    for (let at = 0; at < dotted.length; at += 1000) dotted[at]! ^= 0x55;
    for (const content of [0, 1, 2]) diffed(old, layerOf([{ bytes: dotted, content }]));
  }
  assert.ok(performance.now() - start < 60_000);
});

Deno.test("divideLayer leaves nothing out and does nothing twice", () => {
  const gap = fc.oneof({ weight: 9, arbitrary: fc.nat(2000) }, fc.nat(50 * MIB));
  const size = fc.oneof({ weight: 9, arbitrary: fc.nat(3 * MIB) }, fc.nat(70 * MIB));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(gap, size, fc.boolean()), { maxLength: 40 }),
      gap,
      (shape, tail) => {
        let at = 0;
        const files = shape.map(([gap, size, same]): NewFile => {
          const offset = at + gap;
          at = offset + size;
          return { offset, size, same, content: 0, path: "x" };
        });
        const parts = divideLayer(files, at + tail);
        assert.deepEqual([...new Set(parts.flatMap((part) => part.files))], files);
        let end = 0;
        for (const part of parts) {
          assert.equal(part.start, end);
          end = part.end;
          const equal = part.files.reduce((sum, { offset, size, same }) => {
            const from = Math.max(offset, part.start);
            const to = Math.min(offset + size, part.end);
            assert.ok(from <= to, "a file of the part has content in it");
            return sum + (same ? to - from : 0);
          }, 0);
          assert.ok(part.end - part.start - equal <= 64 * MIB);
          for (const file of files) {
            if (part.files.includes(file) || file.size === 0) continue;
            assert.ok(file.offset + file.size <= part.start || file.offset >= part.end);
          }
        }
        assert.equal(end, at + tail);
      },
    ),
    { seed: seed() },
  );
});

Deno.test("ContentIndex finds blocks at any place", async (t) => {
  const rng = new Rng(seed());
  const files = [random(rng, 100), random(rng, 5000), random(rng, 20), random(rng, 9999)];
  const index = new Old(files).index();
  const find = (bytes: Uint8Array) => {
    const found: string[] = [];
    index.scan(bytes, { from: 0, to: bytes.length }, (at, { file, position }) => {
      found.push(`${file} ${position - at}`);
      return bytes.length;
    });
    return found;
  };
  await t.step("of every file that is long enough", () => {
    for (const file of [0, 1, 3]) {
      for (let from = 0; from + 47 <= 100; from++) {
        assert.deepEqual(find(files[file]!.subarray(from, from + 47)), [`${file} ${from}`]);
      }
    }
  });
  await t.step("and nothing else", () => {
    assert.deepEqual(find(random(rng, 5000)), []);
    assert.deepEqual(find(new Uint8Array(5000)), []);
    assert.deepEqual(find(files[1]!.subarray(0, 31)), []);
  });
  await t.step("when filled in pieces", () => {
    const pieces = ContentIndex.create(files.map(({ length }) => length));
    const { step } = pieces.parts;
    for (const [i, file] of files.entries()) {
      for (let at = 0; at < file.length; at += 8 * step) {
        pieces.insert(i, file.subarray(at, at + 8 * step + ContentIndex.overlap), at);
      }
    }
    assert.deepEqual(pieces.parts, index.parts);
  });
});

/** A tree of files, by path; equal texts are equal contents. */
function treeOf(files: Record<string, { id: string; size?: number; mode?: number }>) {
  const root = new Directory(STAT);
  for (const [path, { id, size, mode }] of Object.entries(files)) {
    let at = root;
    const parts = path.split("/");
    const name = parts.pop()!;
    for (const part of parts) {
      let next = at.entries.get(part);
      if (next?.kind !== "directory") at.entries.set(part, next = new Directory(STAT));
      at = next;
    }
    const content = { type: "external", digest: id as ObjectId, size: size ?? 1000 } as const;
    at.entries.set(name, new Leaf({ ...STAT, mode: mode ?? 0o644 }, content));
  }
  return { root };
}

Deno.test("listContents leaves out what appliers cannot open", async (t) => {
  const tree = treeOf({
    "usr/b": { id: "1" },
    "usr/a": { id: "1" },
    "run/x": { id: "2" },
    "sysroot/ostree/x": { id: "3" },
    "etc/shadow": { id: "4", mode: 0o640 },
    "usr/\xff": { id: "5" },
    "usr/\xc3\xa4": { id: "6" },
  });
  const cases: Record<TargetCompat, string[]> = {
    any: ["1 usr/a,usr/b", "6 usr/\xc3\xa4"],
    cfsctl: ["4 etc/shadow", "3 sysroot/ostree/x", "1 usr/a,usr/b", "6 usr/\xc3\xa4"],
    "oci-delta": ["2 run/x", "1 usr/a,usr/b", "6 usr/\xc3\xa4"],
  };
  for (const [compat, expected] of Object.entries(cases)) {
    await t.step(compat, () => {
      const contents = listContents(tree, { compat: compat as TargetCompat });
      assert.deepEqual(contents.map(({ id, paths }) => `${id} ${paths.join()}`), expected);
    });
  }
});

Deno.test("Pairer finds what a file has come from", async (t) => {
  const contents = listContents(
    treeOf({
      "usr/bin/app": { id: "app" },
      "usr/lib/libx.so.1.2": { id: "libx" },
      "usr/lib/modules/6.1.0-31/kernel/a.ko": { id: "ko31" },
      "usr/lib/modules/6.1.0-31/kernel/b/a.ko": { id: "ko31b" },
      "usr/share/doc/a/copyright": { id: "copy-a" },
      "usr/share/doc/b/copyright": { id: "copy-b" },
      "usr/share/twin": { id: "copy-b" },
      "usr/huge": { id: "huge", size: 2 ** 30 },
    }),
    { compat: "any" },
  );
  const pairer = new Pairer(contents);
  const cases: [path: string, id: string, expected: string, size?: number][] = [
    ["usr/bin/app", "new", "app at usr/bin/app"],
    ["usr/bin/other", "app", "equals app at usr/bin/app"],
    ["usr/share/twin", "copy-b", "equals copy-b at usr/share/twin"],
    ["opt/b/copyright", "copy-b", "equals copy-b at usr/share/doc/b/copyright"],
    ["usr/lib/libx.so.1.10", "new", "libx at usr/lib/libx.so.1.2"],
    [
      "usr/lib/modules/6.1.0-32/kernel/b/a.ko",
      "new",
      "ko31b at usr/lib/modules/6.1.0-31/kernel/b/a.ko",
    ],
    ["usr/share/doc/b/x/copyright", "new", "copy-b at usr/share/doc/b/copyright"],
    ["opt/unheard", "new", "nothing"],
    ["usr/huge", "new", "nothing", 2 ** 20],
  ];
  for (const [path, id, expected, size] of cases) {
    await t.step(path, () => {
      const found = pairer.find(path, { id: id as ObjectId, size: size ?? 1000 });
      const name = contents[found.content]?.id;
      const shown = found.content < 0
        ? "nothing"
        : `${found.same ? "equals " : ""}${name} at ${found.path}`;
      assert.equal(shown, expected);
    });
  }
});
