import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  ALGORITHMS,
  ComposefsError,
  FormatError,
  nodeZstd,
  type ObjectId,
} from "../../lib/base/mod.ts";
import { HEADER_SIZE, INFO, RANGE_SIZE } from "../../lib/splitstream/layout.ts";
import { openSplitstream, SplitstreamWriter } from "../../lib/splitstream/mod.ts";
import { readLayerEntries } from "../../lib/tar/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const FIXTURES = `${ROOT}fixtures/splitstream/`;
const algorithm = ALGORITHMS.sha256;

function inputs(): Uint8Array<ArrayBuffer>[] {
  const out: Uint8Array<ArrayBuffer>[] = [];
  for (const dir of ["streams", "inputs"]) {
    const names = [...Deno.readDirSync(FIXTURES + dir)].map(({ name }) => name).sort();
    for (const name of names.filter((name) => name.endsWith(".splitstream"))) {
      // The bomb is delivered in full, as it must be, which takes too long for here.
      if (name !== "i24_bomb.splitstream") out.push(Deno.readFileSync(`${FIXTURES}${dir}/${name}`));
    }
  }
  return out;
}

/** Reads everything: chunks, references and, where the inline data is a tar stream, entries. */
function readAll(file: Uint8Array): void {
  const stream = openSplitstream(file, { algorithm, codec: nodeZstd });
  assert.equal([...stream.streamRefs].length, stream.streamRefs.length);
  assert.equal([...stream.objectRefs].length, stream.objectRefs.length);
  for (const id of stream.namedRefs.values()) assert.ok([...stream.streamRefs].includes(id));
  let inline = 0;
  for (const chunk of stream.chunks()) {
    if (chunk.type === "inline") {
      assert.ok(chunk.bytes.length > 0 && chunk.bytes.length <= 2 ** 20);
      inline += chunk.bytes.length;
    } else assert.ok(chunk.index < stream.objectRefs.length);
  }
  assert.ok(BigInt(inline) <= stream.streamSize + BigInt(2 ** 20));
  for (const entry of readLayerEntries(stream)) assert.ok(entry.item.type);
}

Deno.test(`Mutated splitstreams are read or refused (SEED=${seed()})`, () => {
  const rng = new Rng(seed());
  const originals = inputs();
  let good = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const file = mutate(rng.pick(originals), rng);
    const started = performance.now();
    try {
      readAll(file);
      good++;
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      assert.ok(error instanceof FormatError);
    }
    assert.ok(performance.now() - started < 1000, `round ${round} took too long`);
  }
  assert.ok(good > 0);
});

/** A splitstream with these plain texts and one reference of each kind. */
function build(named: Uint8Array, plain: Uint8Array): Uint8Array {
  const writer = new SplitstreamWriter({ algorithm, contentType: 1n, codec: nodeZstd });
  writer.addObjectRef("ab".repeat(32) as ObjectId);
  writer.addNamedRef("name", "cd".repeat(32) as ObjectId);
  writer.addInline(new Uint8Array(1000));
  const file = writer.finish();
  const view = new DataView(file.buffer);
  const at = (field: readonly [number, string]) => HEADER_SIZE + field[0];
  const sections = [
    file.subarray(0, Number(view.getBigUint64(at(INFO.namedRefs), true))),
    nodeZstd.compress(named),
    nodeZstd.compress(plain),
  ];
  const out = Buffer.concat(sections);
  const stream = sections[0]!.length + sections[1]!.length;
  out.writeBigUInt64LE(BigInt(stream), at(INFO.namedRefs) + RANGE_SIZE / 2);
  out.writeBigUInt64LE(BigInt(stream), at(INFO.stream));
  out.writeBigUInt64LE(BigInt(out.length), at(INFO.stream) + RANGE_SIZE / 2);
  return out;
}

Deno.test("Splitstreams with mutated plain texts are read or refused with a FormatError", () => {
  const rng = new Rng(seed());
  const named = new TextEncoder().encode("0:name\x000:config:sha256:00\0");
  const plain = Buffer.alloc(200);
  plain.writeBigInt64LE(-100n, 0);
  plain.writeBigInt64LE(-60n, 116);
  const originals = [plain, plain.subarray(0, 116), plain.subarray(108, 116)];
  let good = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const text = rng.pick(originals);
    const file = rng.oneIn(3) ? build(mutate(named, rng), text) : build(named, mutate(text, rng));
    try {
      readAll(file);
      good++;
    } catch (error) {
      assert.ok(error instanceof FormatError, String((error as Error).stack));
    }
  }
  assert.ok(good > 0);
});
