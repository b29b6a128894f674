import assert from "node:assert/strict";
import { zstdDecompressSync } from "node:zlib";
import { ComposefsError, FormatError, nodeZstd } from "../../lib/base/mod.ts";
import {
  chunkedSupport,
  ChunkUnpacker,
  joinTarSplit,
  parseFooter,
  parseToc,
  planFetch,
  rangeBytes,
  rebuildTar,
  SKIPPABLE_HEADER,
  tarSplitLines,
  type Toc,
} from "../../lib/chunked/mod.ts";
import { expected, FIXTURES, NEW, OLD, openFixture } from "../chunked/_chunked.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const fixtures = NEW.map(openFixture);
const NOTHING = { file: () => undefined };

/** Runs `work` on mutated inputs; each ends soon, in a value or in the right kind of error. */
function fuzz(work: (rng: Rng) => void, rounds = ROUNDS): void {
  const rng = new Rng(seed());
  const { rss: before } = Deno.memoryUsage();
  let good = 0;
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    try {
      work(rng);
      good++;
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      assert.ok(error instanceof FormatError);
    }
    assert.ok(performance.now() - started < 1000, `round ${round} took too long`);
  }
  assert.ok(good > 0);
  // With garbage that nobody has missed yet.
  const grown = Deno.memoryUsage().rss - before;
  assert.ok(grown < 512 * 2 ** 20, `${grown} bytes of memory`);
}

/** What holds for every table of contents that is accepted. */
function checkToc(toc: Toc, dataEnd: number): void {
  let at = 1;
  for (let content = 0; content < toc.sizes.length; content++) {
    const [first, end] = [toc.firstChunk[content]!, toc.firstChunk[content + 1]!];
    assert.ok(end > first);
    let size = 0;
    for (let chunk = first; chunk < end; chunk++) {
      assert.ok(toc.chunkStarts[chunk]! >= at && toc.chunkEnds[chunk]! > toc.chunkStarts[chunk]!);
      at = toc.chunkEnds[chunk]!;
      assert.ok(toc.chunkSizes[chunk]! > 0);
      size += toc.chunkSizes[chunk]!;
    }
    assert.equal(size, toc.sizes[content]);
  }
  assert.ok(at <= dataEnd);
  assert.equal(toc.chunkEnds.length, toc.chunkStarts.length);
  const { ranges, fetchBytes } = planFetch(toc, NOTHING);
  assert.ok(rangeBytes(ranges) === fetchBytes && fetchBytes < dataEnd);
}

/** A change that keeps the JSON, so that what is behind the parser is met too. */
function changeNumber(text: Uint8Array, rng: Rng): Uint8Array {
  const source = new TextDecoder().decode(text);
  const numbers = [...source.matchAll(/:([0-9]+)[,}]/g)];
  const keys = [...source.matchAll(/"(offset|endOffset|chunk\w+|size|type|digest)"/g)];
  const match = rng.oneIn(5) ? rng.pick(keys) : rng.pick(numbers);
  if (match === undefined) return text;
  const part = match[0]!;
  const changed = part.startsWith(":")
    ? part.replace(/[0-9]+/, String(rng.pick([0, 1, 2, 500, 70_000, 2 ** 53 - 1, rng.next()])))
    : rng.pick(['"x"', '"size"', '"chunkSize"', '"type"', '"offset"']);
  const at = match.index!;
  return new TextEncoder().encode(source.slice(0, at) + changed + source.slice(at + part.length));
}

Deno.test(`Mutated tables of contents are read or refused (SEED=${seed()})`, () => {
  const originals = [
    ...fixtures.map(({ tocText }) => tocText),
    ...OLD.map((name) => Deno.readFileSync(`${FIXTURES}${name}.toc.json`)),
  ];
  fuzz((rng) => {
    const original = rng.pick(originals);
    const text = rng.oneIn(2) ? mutate(original, rng) : changeNumber(original, rng);
    const dataEnd = rng.pick([2 ** 40, 44_527, 30_000]);
    checkToc(parseToc(text, dataEnd), dataEnd);
  });
});

Deno.test(`Mutated tar-splits are rebuilt or refused (SEED=${seed()})`, () => {
  const texts = NEW.map((name) =>
    zstdDecompressSync(Deno.readFileSync(`${FIXTURES}${name}.tarsplit.ndjson.zst`))
  );
  fuzz((rng) => {
    const which = rng.below(NEW.length);
    const text = rng.oneIn(2) ? mutate(texts[which]!, rng) : changeNumber(texts[which]!, rng);
    const step = rng.pick([1 << 20, 4096, 100]);
    const lines = function* () {
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < text.length; at += step) pieces.push(text.subarray(at, at + step));
      yield* tarSplitLines(pieces);
    };
    const { toc } = fixtures[which]!;
    const files = joinTarSplit(toc, lines);
    let size = 0;
    const content = (number: number) => {
      size += toc.sizes[number]!;
      return [];
    };
    for (const piece of rebuildTar(lines(), { files, content })) size += piece.length;
    assert.ok(Number.isSafeInteger(size));
  });
});

Deno.test(`Mutated annotations, footers and chunks are read or refused (SEED=${seed()})`, () => {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const facts = NEW.map(expected);
  fuzz((rng) => {
    const { layer, footerHex } = rng.pick(facts);
    const names = Object.keys(layer.annotations);
    const name = rng.pick(names);
    const value = decoder.decode(mutate(encoder.encode(layer.annotations[name]), rng));
    const support = chunkedSupport({ ...layer.annotations, [name]: value }, layer.size);
    if (support.kind === "chunked") {
      for (const { offset, length } of [support.layer.toc, support.layer.tarSplit]) {
        assert.ok(offset > 0 && length > 0 && offset + length <= layer.size);
      }
      const { toc } = support.layer;
      assert.ok(toc.offset - SKIPPABLE_HEADER < layer.size);
    }
    const footer = parseFooter(mutate(Uint8Array.fromHex(footerHex), rng));
    assert.ok(footer === undefined || Number.isSafeInteger(footer.toc.size));
    const { blob, toc } = fixtures[0]!;
    const chunk = rng.below(toc.chunkSizes.length);
    const frame = mutate(blob.subarray(toc.chunkStarts[chunk], toc.chunkEnds[chunk]), rng);
    let size = 0;
    using unpacker = new ChunkUnpacker(nodeZstd);
    for (const piece of unpacker.unpack(frame, toc.chunkSizes[chunk]!)) {
      size += piece.length;
    }
    assert.equal(size, toc.chunkSizes[chunk]);
  });
});
