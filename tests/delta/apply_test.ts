import assert from "node:assert/strict";
import { zstdCompressSync } from "node:zlib";
import { FormatError } from "../../lib/base/mod.ts";
import {
  buildSourceTable,
  DELTA_SOURCE_FORMAT,
  TAR_DIFF_LIMITS,
  TAR_DIFF_MAGIC,
  TAR_DIFF_OP,
  TarDiffPatcher,
  TarDiffReader,
  tarDiffText,
} from "../../lib/delta/mod.ts";
import { unpack } from "../../lib/transport/unpack.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import {
  applied,
  expectedDeltas,
  Layout,
  newImage,
  oldImage,
  pieces,
  sha256,
  sourceTables,
} from "./_delta.ts";

const OP_NAMES = ["DATA", "OPEN", "COPY", "ADD", "SEEK"];

async function operations(bytes: Uint8Array, pieceSize: number): Promise<unknown[]> {
  const reader = new TarDiffReader();
  const ops: [string, number, string][] = [];
  let nonZero = 0;
  for await (
    const piece of tarDiffText(pieces(bytes, pieceSize), (text) => unpack(text, "zstd"))
  ) {
    for (const small of pieces(piece, pieceSize)) {
      reader.feed(small);
      for (let step = reader.next(); step !== "more"; step = reader.next()) {
        if (reader.first) {
          nonZero = 0;
          ops.push([OP_NAMES[step]!, reader.n, step === TAR_DIFF_OP.open ? reader.path : ""]);
        }
        if (step !== TAR_DIFF_OP.add) continue;
        nonZero += reader.bytes.filter((byte) => byte !== 0).length;
        ops.at(-1)![2] = `nz=${nonZero}`;
      }
    }
  }
  reader.finish();
  return ops;
}

Deno.test("TarDiffReader reads the generator's operations", async (t) => {
  for (const [name, row] of Object.entries(expectedDeltas())) {
    if (row.tar_diffs === undefined) continue;
    await t.step(name, async () => {
      const found = new Layout(`${name}.delta`).tarDiffs();
      assert.deepEqual(found.map(([to]) => to), row.tar_diffs!.map(({ to }) => to));
      for (const [i, { size, ops }] of row.tar_diffs!.entries()) {
        assert.equal(found[i]![1].length, size);
        for (const pieceSize of [1, 7, 1 << 20]) {
          assert.deepEqual(await operations(found[i]![1], pieceSize), ops);
        }
      }
    });
  }
});

/** The idea of the old image that a delta needs; the true one where it is not said. */
const GENERATORS = new Set([
  "gen-whdir",
  "gen-replaced_by_symlink",
  "gen-replaced_by_unreadable",
  "gen-replaced_by_empty",
  "gen-parent_replaced",
]);

Deno.test("applyTarDiff() makes the layers of the generated deltas", async (t) => {
  for (const [name, row] of Object.entries(expectedDeltas())) {
    if (row.tar_diffs === undefined) continue;
    await t.step(name, async () => {
      const tables = sourceTables(oldImage(name));
      const target = new Layout(newImage(name));
      const diffIds = target.json(target.manifest.config).rootfs.diff_ids as string[];
      const idOf = (to: string) =>
        diffIds[target.manifest.layers.findIndex(({ digest }) => digest === to)];
      for (const [to, bytes] of new Layout(`${name}.delta`).tarDiffs()) {
        const view = GENERATORS.has(name) ? tables.generator : tables.true;
        assert.equal(sha256(await applied(bytes, view)), idOf(to));
        assert.equal(sha256(await applied(bytes, view, { pieceSize: 3 })), idOf(to));
        if (!GENERATORS.has(name)) continue;
        const other = await applied(bytes, tables.true).then(sha256, (error) => error);
        if (other instanceof FormatError) assert.equal(other.format, DELTA_SOURCE_FORMAT);
        else assert.notEqual(other, idOf(to));
      }
    });
  }
});

/** Messages with those of their causes; the reference's, unless a comment says otherwise. */
const FAULTS: Record<string, string> = {
  "hand-dotdot_path": 'Source file not found: usr/../usr/src: Invalid filename "usr/../usr/src"',
  // The reference names the parent directory.
  "hand-escape_path":
    'Source file not found: ../../etc/passwd: Invalid filename "../../etc/passwd"',
  "hand-symlink_source":
    'Source file not found: usr/lnk: Directory entry "lnk" is not a regular file',
  "hand-dir_source": 'Source file not found: usr/dir: Directory entry "dir" is a directory',
  "hand-missing_source": 'Source file not found: usr/none: Directory entry "none" does not exist',
  "hand-empty_name": 'Source file not found: : Invalid filename ""',
  "hand-nonutf8_name": "Invalid UTF-8 in tar-diff filename",
  "hand-name_4097": "Filename size 4097 exceeds limit",
  "hand-name_4096": `Source file not found: ${"a".repeat(4096)}: Directory entry "${
    "a".repeat(4096)
  }" does not exist`,
  "hand-copy_no_open": "No current file set in data source",
  "hand-seek_no_open": "No current file set in data source",
  "hand-add_no_open": "Reading source data for AddData: No current file set in data source",
  "hand-copy_past_eof": "Short read from data source: expected 4000, got 2048",
  // The reference says "failed to fill whole buffer".
  "hand-add_past_eof":
    "Reading source data for AddData: Short read from data source: expected 4000, got 2048",
  "hand-seek_past_eof_then_copy": "Short read from data source: expected 1, got 0",
  "hand-bad_op": "Unexpected tar-diff op 5",
  "hand-varint_overflow": "uvarint overflow",
  // As before.
  "hand-varint_trunc": "Unexpected end of file in a tar-diff operation",
  "hand-data_short": "Short OP_DATA: expected 100, got 3",
  "hand-add_over_limit": "AddData size 104857601 exceeds limit",
  "hand-bad_magic": "Invalid tar-diff header",
  "hand-empty_blob": "Unexpected end of file in the tar-diff header",
  "hand-no_zstd": "incomplete frame",
  "hand-trunc_zstd": "incomplete frame",
  "hand-trailing_after_zstd": "Unknown frame descriptor",
};

Deno.test("applyTarDiff() refuses what the reference refuses", async (t) => {
  const tables = sourceTables("hand-old");
  const target = new Layout("hand-new");
  const [diffId] = target.json(target.manifest.config).rootfs.diff_ids;
  let failed = 0;
  for (const [name, row] of Object.entries(expectedDeltas())) {
    const diffs = name.startsWith("hand-") ? new Layout(`${name}.delta`).tarDiffs() : [];
    if (diffs.length === 0) continue;
    await t.step(name, async () => {
      for (const pieceSize of [1 << 20, 1]) {
        const layer = applied(diffs[0]![1], tables.true, { pieceSize });
        const expected = FAULTS[name];
        if (expected === undefined) {
          const actual = sha256(await layer);
          const mismatch = /mismatch: expected \S+, got (\S+)$/.exec(row.ref_error_or_first_line!);
          assert.equal(actual, mismatch?.[1] ?? diffId);
          continue;
        }
        failed++;
        assert.notEqual(row.ref_exit_v2_repo, 0);
        await assert.rejects(layer, (error) => {
          assert.ok(error instanceof FormatError);
          const lines = [error.message];
          for (let at = error.cause; at instanceof Error; at = at.cause) lines.push(at.message);
          assert.equal(lines.join(": "), expected);
          return true;
        });
      }
    });
  }
  assert.equal(failed, 2 * Object.keys(FAULTS).length);
});

/** An operation as bytes. */
function op(code: number, n: number, bytes: Uint8Array | string = ""): Uint8Array {
  const number: number[] = [];
  let left = n;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) number.push(0x80 + left % 0x80);
  const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  return Uint8Array.from([code, ...number, left, ...data]);
}

function patch(text: Uint8Array, files: Record<string, Uint8Array>, limit?: number): Buffer {
  const patcher = new TarDiffPatcher({
    source: {
      open: (path) => {
        const data = files[path]!;
        return {
          size: data.length,
          read: (buffer, position) => {
            const part = data.subarray(position, position + buffer.length);
            buffer.set(part);
            return part.length;
          },
        };
      },
    },
    ...(limit === undefined ? {} : { limit }),
  });
  const out: Uint8Array[] = [];
  for (const piece of patcher.push(text)) out.push(piece.slice());
  out.push(patcher.finish().slice());
  return Buffer.concat(out);
}

Deno.test(`TarDiffPatcher does what the operations say, seed ${seed()}`, () => {
  const rng = new Rng(seed());
  const random = (length: number) => Uint8Array.from({ length }, () => rng.next());
  for (let round = 0; round < 60; round++) {
    const files = { a: random(rng.below(2_000)), b: random(300_000) };
    const text: Uint8Array[] = [];
    const expected: Uint8Array[] = [];
    let file: Uint8Array | undefined;
    let position = 0;
    for (let i = 0; i < 40; i++) {
      const code = rng.below(5);
      if (code === TAR_DIFF_OP.data) {
        const data = random(rng.below(rng.oneIn(8) ? 300_000 : 30));
        text.push(op(code, data.length), data);
        expected.push(data);
      } else if (code === TAR_DIFF_OP.open || file === undefined) {
        const name = rng.pick(["a", "b"] as const);
        file = files[name];
        position = 0;
        text.push(op(TAR_DIFF_OP.open, 1, name));
      } else if (code === TAR_DIFF_OP.seek) {
        position = rng.below(file.length + 1);
        text.push(op(code, position));
      } else {
        const most = file.length - position;
        const n = rng.oneIn(3) ? most : rng.below(Math.min(most, 50) + 1);
        const part = file.subarray(position, position + n);
        position += n;
        if (code === TAR_DIFF_OP.copy) {
          text.push(op(code, n));
          expected.push(part);
        } else {
          const data = random(n).map((byte) => rng.oneIn(2) ? 0 : byte);
          text.push(op(code, n), data);
          expected.push(data.map((byte, j) => (byte + part[j]!) % 256));
        }
      }
    }
    const result = patch(Buffer.concat(text), files);
    assert.ok(Buffer.concat(expected).equals(result), `round ${round}`);
  }
});

Deno.test("what a tar-diff may cost is bounded", async (t) => {
  const files = { f: new Uint8Array(1000) };
  await t.step("bytes that come out", () => {
    const text = Buffer.concat([op(1, 1, "f"), op(2, 600), op(4, 0), op(2, 600)]);
    assert.equal(patch(text, files, 1200).length, 1200);
    assert.throws(() => patch(text, files, 1199), {
      name: "FormatError",
      message: "Layer exceeds the limit of 1199 bytes",
    });
    assert.throws(
      () => patch(op(0, 2 ** 60, "x"), files),
      /Layer exceeds the limit of 68719476736/,
    );
    assert.throws(() => patch(Buffer.concat([op(1, 1, "f"), op(2, 2 ** 60)]), files), /Short read/);
  });
  await t.step("operations that do nothing", () => {
    const count = TAR_DIFF_LIMITS.emptyOperations;
    assert.equal(patch(new Uint8Array(2 * count), files).length, 0);
    assert.throws(() => patch(new Uint8Array(2 * count + 2), files), {
      name: "FormatError",
      message: "More than 10000000 operations do nothing",
    });
  });
  await t.step("operations that nothing comes out of", () => {
    const seeks = new Uint8Array(3 + 2 * 10_000_001).fill(1);
    seeks.set(op(1, 1, "f"));
    for (let at = 3; at < seeks.length; at += 2) seeks[at] = TAR_DIFF_OP.seek;
    assert.throws(() => patch(seeks, files), /Too many operations that nothing comes out of/);
  });
  await t.step("the zstd window", async () => {
    const frame = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x90, 1, 0, 0]);
    const bytes = Buffer.concat([TAR_DIFF_MAGIC, frame]);
    await assert.rejects(applied(bytes, buildSourceTable(new Map())), /too much memory/);
  });
});

Deno.test("numbers up to 64 bits are read", () => {
  const files = { f: new Uint8Array(1000) };
  const seek = (...bytes: number[]) =>
    patch(Uint8Array.from([...op(1, 1, "f"), TAR_DIFF_OP.seek, ...bytes]), files);
  const nine = Array<number>(9).fill(0xff);
  assert.equal(seek(...nine, 1).length, 0);
  assert.equal(seek(...Array<number>(9).fill(0x80), 0).length, 0);
  assert.throws(() => seek(...nine, 2), { message: "uvarint overflow" });
  assert.throws(() => seek(...nine, 0x80, 0), { message: "uvarint overflow" });
});

Deno.test("a file that shrinks while it is read gives an error", () => {
  const patcher = new TarDiffPatcher({ source: { open: () => ({ size: 10, read: () => 4 }) } });
  const text = Buffer.concat([op(1, 1, "f"), op(2, 10)]);
  assert.throws(() => [...patcher.push(text)], {
    format: DELTA_SOURCE_FORMAT,
    message: "Short read from data source: expected 10, got 4",
  });
});

Deno.test("zstd frames may be many, and nothing else may follow", async () => {
  const table = buildSourceTable(new Map());
  const part = (text: string) => zstdCompressSync(op(0, text.length, text));
  const two = Buffer.concat([TAR_DIFF_MAGIC, part("ab"), part("cd")]);
  assert.equal((await applied(two, table)).toString(), "abcd");
  await assert.rejects(applied(Buffer.concat([two, Buffer.from("x")]), table), /incomplete frame/);
});
