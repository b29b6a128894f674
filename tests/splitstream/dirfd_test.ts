import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "npm:fast-check@4.10.0";
import { FormatError, fromHex, toHex } from "../../lib/base/mod.ts";
import {
  checkDirfdName,
  type DirfdChunk,
  DirfdStreamReader,
  encodeDirfdChunk,
} from "../../lib/splitstream/mod.ts";
import { ROOT } from "../helpers/run.ts";

const FIXTURES = `${ROOT}fixtures/splitstream/splitdirfdstream/`;

/** Reads a stream in pieces of a size and puts the chunks together again. */
function chunksOf(bytes: Uint8Array, step: number): DirfdChunk[] {
  const reader = new DirfdStreamReader();
  const chunks: DirfdChunk[] = [];
  let open: { type: "metadata" | "inline"; parts: Buffer[]; left: number } | undefined;
  const close = () => {
    if (open === undefined || open.left > 0) return;
    chunks.push({ type: open.type, bytes: Uint8Array.from(Buffer.concat(open.parts)) });
    open = undefined;
  };
  for (let at = 0; at < bytes.length; at += step) {
    for (const event of reader.push(bytes.subarray(at, at + step))) {
      if (event.type === "file") chunks.push(event);
      else if (event.type === "start") open = { type: event.kind, parts: [], left: event.size };
      else {
        open!.parts.push(Buffer.from(event.bytes));
        open!.left -= event.bytes.length;
      }
      close();
    }
  }
  reader.finish();
  return chunks;
}

type Shown = ["Metadata" | "InlineData", string] | ["FileBackedData", number, number, string];

function shown(chunk: DirfdChunk): Shown {
  if (chunk.type === "file") {
    return ["FileBackedData", chunk.size, chunk.directory, chunk.name];
  }
  const text = new TextDecoder().decode(chunk.bytes);
  return [chunk.type === "metadata" ? "Metadata" : "InlineData", text];
}

interface Row {
  case: string;
  hex: string;
  expect: { chunks?: Shown[]; error?: string; structural?: "ok"; name_error?: string };
}

Deno.test("DirfdStreamReader reads and refuses what the reference does", async (t) => {
  const rows: Row[] = JSON.parse(Deno.readTextFileSync(`${FIXTURES}cases.json`));
  for (const { case: name, hex, expect } of rows) {
    await t.step(name, () => {
      const bytes = fromHex(hex);
      for (const step of [1, 2, 7, 4096]) {
        if (expect.error !== undefined) {
          assert.throws(() => chunksOf(bytes, step), {
            name: "FormatError",
            message: expect.error,
          });
          continue;
        }
        const chunks = chunksOf(bytes, step);
        if (expect.chunks !== undefined) {
          assert.deepEqual(chunks.map(shown), expect.chunks);
          if (name.startsWith("metadata empty")) continue; // never written
          const written = chunks.map((chunk) => toHex(encodeDirfdChunk(chunk))).join("");
          assert.equal(written, hex);
          continue;
        }
        const [file] = chunks;
        assert.ok(file?.type === "file");
        if (expect.name_error === undefined) checkDirfdName(file.name);
        else assert.throws(() => checkDirfdName(file.name), { message: expect.name_error });
      }
    });
  }
});

Deno.test("DirfdStreamReader reads what a running cfsctl sent", () => {
  const bytes = Deno.readFileSync(`${FIXTURES}worked_example.sdfd`);
  const expected = JSON.parse(Deno.readTextFileSync(`${FIXTURES}worked_example.json`));
  const found = chunksOf(bytes, 1000).map((chunk) =>
    chunk.type === "file"
      ? {
        type: "FileBackedData",
        length: chunk.size,
        dirfd_index: chunk.directory,
        name: chunk.name,
      }
      : { type: "Metadata", length: chunk.bytes.length }
  );
  assert.deepEqual(found, expected);
  const written = Buffer.concat(chunksOf(bytes, 4096).map((chunk) => encodeDirfdChunk(chunk)));
  assert.deepEqual(Uint8Array.from(written), bytes);
});

Deno.test("encodeDirfdChunk() refuses names that lead elsewhere, and too long ones", () => {
  for (const name of ["", "/x", "../x", "x/..", "x\0", "x".repeat(4097)]) {
    assert.throws(
      () => encodeDirfdChunk({ type: "file", size: 1, directory: 0, name }),
      FormatError,
    );
  }
  assert.equal(encodeDirfdChunk({ type: "metadata", bytes: new Uint8Array() }).length, 0);
});

Deno.test("DirfdStreamReader gives a value or a FormatError for any bytes", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.integer({ min: 1, max: 9 }),
      (bytes, step) => {
        try {
          chunksOf(bytes, step);
        } catch (error) {
          assert.ok(error instanceof FormatError);
        }
      },
    ),
    { numRuns: 2000 },
  );
});
