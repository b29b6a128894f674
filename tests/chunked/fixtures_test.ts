import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { zstdDecompressSync } from "node:zlib";
import { frameLength, nodeZstd, toHex } from "../../lib/base/mod.ts";
import {
  type BlobRange,
  type Chunk,
  chunkedSupport,
  Chunker,
  ChunkUnpacker,
  DIGEST_SIZE,
  type FetchPlan,
  formatFooter,
  type KnownContents,
  mergeRanges,
  parseFooter,
  PIECE,
  planFetch,
  rangeBytes,
  rebuildTar,
  type Toc,
} from "../../lib/chunked/mod.ts";
import { blobs, expected, FIXTURES, NEW, OLD, openFixture, openLayer, sha256 } from "./_chunked.ts";

const NOTHING: KnownContents = { file: () => undefined };

function digest(digests: Uint8Array, index: number): string {
  return `sha256:${toHex(digests, index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE)}`;
}

/** The bytes of a content, from the blob alone. */
function* contentBytes(
  plan: FetchPlan,
  content: number,
  blob: Uint8Array,
): Generator<Uint8Array> {
  using unpacker = new ChunkUnpacker(nodeZstd);
  for (let i = plan.firstPiece[content]!; i < plan.firstPiece[content + 1]!; i++) {
    const size = plan.sizes[i]!;
    if (plan.kinds[i] === PIECE.zeros) yield new Uint8Array(size);
    else {
      const start = plan.places[i]!;
      assert.ok(
        plan.ranges.some((range) => start >= range.start && start + plan.lengths[i]! <= range.end),
      );
      yield* unpacker.unpack(blob.subarray(start, start + plan.lengths[i]!), size);
    }
  }
}

Deno.test("Layers of the current generation are read and rebuilt byte for byte", async (t) => {
  for (const name of NEW) {
    await t.step(name, () => {
      const layer = openFixture(name);
      const { toc, expected: facts } = layer;
      assert.deepEqual(layer.tocText, Deno.readFileSync(`${FIXTURES}${name}.toc.json`));
      const tarSplit = Deno.readFileSync(`${FIXTURES}${name}.tarsplit.ndjson.zst`);
      assert.equal(zstdDecompressSync(tarSplit).length, layer.chunked.tarSplit.size);
      let content = 0;
      for (const file of facts.files) {
        if (file.size === 0) continue;
        assert.equal(toc.sizes[content], file.size);
        assert.equal(digest(toc.digests, content), file.digest);
        const first = toc.firstChunk[content]!;
        assert.equal(toc.firstChunk[content + 1]! - first, file.chunks.length);
        file.chunks.forEach((chunk, i) => {
          assert.equal(toc.chunkStarts[first + i], chunk.blobOffset);
          assert.equal(toc.chunkEnds[first + i], chunk.blobEnd);
          assert.equal(toc.chunkSizes[first + i], chunk.size);
          assert.equal(toc.chunkZeros[first + i], chunk.type === "zeros" ? 1 : 0);
          if (chunk.digest) assert.equal(digest(toc.chunkDigests, first + i), chunk.digest);
          // Each content chunk is exactly one frame.
          assert.equal(frameLength(layer.blob, chunk.blobOffset), chunk.blobEnd - chunk.blobOffset);
        });
        content++;
      }
      assert.equal(toc.sizes.length, content);
      const plan = planFetch(toc, NOTHING);
      const pieces = rebuildTar(layer.lines(), {
        files: layer.files,
        content: (number) => contentBytes(plan, number, layer.blob),
      });
      assert.equal(sha256(pieces), facts.diffIdInConfig);
      assert.equal(facts.rebuiltDigest, facts.diffIdInConfig);
      assert.ok(plan.reusedBytes < plan.contentBytes || plan.contentBytes === 0);
    });
  }
});

Deno.test("Chunks are where the writers put them", async (t) => {
  for (const name of NEW) {
    await t.step(name, () => {
      const { blob, expected: facts } = openFixture(name);
      const chunks: Chunk[] = [];
      const chunker = new Chunker((chunk) => chunks.push(chunk));
      for (const file of facts.files) {
        const data = Buffer.concat(
          file.chunks.map((chunk) =>
            zstdDecompressSync(blob.subarray(chunk.blobOffset, chunk.blobEnd))
          ),
        );
        for (const step of [data.length || 1, 777]) {
          chunks.length = 0;
          for (let at = 0; at < data.length; at += step) {
            chunker.push(data.subarray(at, at + step));
          }
          chunker.finish();
          // A file of one chunk is not marked, whatever is in it.
          const single = file.chunks.length === 1;
          assert.deepEqual(
            chunks.map(({ offset, size, zeros }) => ({ offset, size, zeros: zeros && !single })),
            file.chunks.map(({ fileOffset, size, type }) => ({
              offset: fileOffset,
              size,
              zeros: type === "zeros",
            })),
          );
        }
      }
    });
  }
});

Deno.test("Layers of old encoders are fetched whole", async (t) => {
  for (const name of OLD) {
    await t.step(name, () => {
      const { layer } = expected(name);
      const support = chunkedSupport(layer.annotations, layer.size);
      assert.equal(support.kind, "whole");
      assert.equal(support.kind === "whole" && support.suspicious, false);
    });
  }
});

Deno.test("parseFooter() finds what the annotations say", async (t) => {
  for (const name of [...NEW, ...OLD]) {
    await t.step(name, () => {
      const { layer, footerHex } = expected(name);
      const blob = blobs(name).get(layer.digest)!;
      const tail = blob.subarray(blob.length - footerHex.length / 2);
      assert.equal(toHex(tail), footerHex);
      const footer = parseFooter(blob)!;
      const support = chunkedSupport(layer.annotations, layer.size);
      if (support.kind === "chunked") {
        assert.deepEqual(footer.toc, support.layer.toc);
        assert.deepEqual(footer.tarSplit, support.layer.tarSplit);
        assert.equal(toHex(formatFooter(footer.toc, footer.tarSplit!)), footerHex);
      } else {
        const position = layer.annotations["io.containers.zstd-chunked.manifest-position"];
        const { offset, length, size } = footer.toc;
        assert.equal(`${offset}:${length}:${size}:1`, position);
        assert.equal(footer.tarSplit, undefined);
      }
      assert.equal(parseFooter(blob.subarray(0, blob.length - 1)), undefined);
    });
  }
});

/** Everything that a layer's contents and chunks are known by. */
function knownOf(toc: Toc): KnownContents {
  const files = new Set<string>();
  const chunks = new Map<string, string>();
  for (let content = 0; content < toc.sizes.length; content++) {
    files.add(digest(toc.digests, content));
    for (let i = toc.firstChunk[content]!; i < toc.firstChunk[content + 1]!; i++) {
      chunks.set(digest(toc.chunkDigests, i), digest(toc.digests, content));
    }
  }
  return {
    file(raw) {
      const key = digest(raw, 0);
      return files.has(key) ? { object: key, offset: 0 } : undefined;
    },
    chunk(raw) {
      const object = chunks.get(digest(raw, 0));
      return object === undefined ? undefined : { object, offset: 0 };
    },
  };
}

interface UpdateRanges {
  blobSize: number;
  tocRange: [number, number];
  tarSplitRange: [number, number];
  diffId: string;
  needed: { offset: number; end: number }[];
  reused: { name: string; size: number }[];
  zeroBytes: number;
  rangesExact: [number, number][];
  rangesMerged1024: [number, number][];
  rangeHeaderMerged1024: string;
  bytesExact: number;
  bytesMerged1024: number;
}

Deno.test("planFetch() asks for what changed and nothing else", () => {
  const facts: UpdateRanges = JSON.parse(
    Deno.readTextFileSync(`${FIXTURES}update-ranges.json`),
  );
  const known = knownOf(openFixture("update-v1-new").toc);
  const { toc, chunked, expected: { layer, diffIdInConfig } } = openFixture("update-v2-new");
  assert.equal(layer.size, facts.blobSize);
  assert.equal(diffIdInConfig, facts.diffId);
  const { toc: at, tarSplit } = chunked;
  assert.deepEqual([at.offset, at.offset + at.length], facts.tocRange);
  assert.deepEqual([tarSplit.offset, tarSplit.offset + tarSplit.length], facts.tarSplitRange);
  const pairs = (ranges: readonly BlobRange[]) => ranges.map(({ start, end }) => [start, end]);
  const exact = planFetch(toc, known, { gap: -1 });
  assert.deepEqual(pairs(exact.ranges), facts.rangesExact);
  assert.deepEqual(pairs(exact.ranges), facts.needed.map(({ offset, end }) => [offset, end]));
  assert.equal(exact.fetchBytes, facts.bytesExact);
  assert.equal(exact.reusedBytes, facts.reused.reduce((sum, { size }) => sum + size, 0));
  let zeros = 0;
  exact.kinds.forEach((kind, i) => zeros += kind === PIECE.zeros ? exact.sizes[i]! : 0);
  assert.equal(zeros, facts.zeroBytes);
  const merged = mergeRanges(exact.ranges, { gap: 1024 });
  assert.deepEqual(pairs(merged), facts.rangesMerged1024);
  assert.equal(rangeBytes(merged), facts.bytesMerged1024);
  assert.equal(
    "bytes=" + merged.map(({ start, end }) => `${start}-${end - 1}`).join(),
    facts.rangeHeaderMerged1024,
  );
  // Of two equal contents the one in the neighbourhood is asked for, which saves a range.
  const near = planFetch(toc, known, { gap: 1024 });
  assert.ok(near.ranges.length < merged.length);
  assert.ok(near.fetchBytes < rangeBytes(merged) + 1024);
});

Deno.test("planFetch() keeps to the number of ranges, and fetches equal contents once", () => {
  const { toc } = openFixture("update-v2-new");
  const all = planFetch(toc, NOTHING, { gap: -1 });
  for (const most of [1, 2, 5, 10]) {
    const { ranges } = planFetch(toc, NOTHING, { gap: -1, most });
    assert.ok(ranges.length <= most);
    assert.ok(rangeBytes(ranges) >= all.fetchBytes);
    for (const { start, end } of all.ranges) {
      assert.ok(ranges.some((range) => range.start <= start && end <= range.end));
    }
  }
  const basic = openFixture("basic-new");
  const plan = planFetch(basic.toc, NOTHING, { gap: -1 });
  const copies = basic.expected.files.filter(({ name }) => /usr\/(same|f4096)$/.test(name));
  assert.equal(copies.length, 2);
  const fetched = copies.filter(({ chunks: [chunk] }) =>
    plan.ranges.some(({ start, end }) => start <= chunk!.blobOffset && chunk!.blobEnd <= end)
  );
  assert.equal(fetched.length, 1);
});

interface Hostile {
  diffId: string;
  tags: Record<string, string>;
}

/** Tags whose tar cannot be rebuilt or comes out wrong, and why; all others are fine. */
const FAULTS: Record<string, RegExp> = {
  "toc-checksum": /TOC digest/,
  "tarsplit-digest": /tar-split digest/,
  "no-tarsplit-digest": /tar-split digest/,
  "no-tarsplit-annotation": /no tar-split/,
  "content-digest": /^content$/,
  "forged-view": /^layer$/,
  "wrong-diffid": /^layer$/,
  "huge-position": /malformed|outside|out of range/,
  "huge-uncompressed": /malformed/,
  "negative-position": /malformed/,
  "type-2": /unknown type/,
  "chunk-outside": /outside of the data|outside of its file/,
  "chunk-negative": /outside of the data/,
  "size-mismatch": /take more than/,
  "missing-entry": /different order/,
  "extra-entry": /more entries/,
  "orphan-chunk": /Chunk without a file/,
  "trailing-json": /Data after/,
  "toc-bomb": /exceeds/,
  "both-formats": /eStargz/,
  "tarsplit-name": /different order/,
};

Deno.test("Hostile layers are refused before they do harm, or cost nothing", async (t) => {
  const facts: Hostile = JSON.parse(Deno.readTextFileSync(`${FIXTURES}hostile.expected.json`));
  const all = blobs("hostile");
  const parse = (digest: string) => JSON.parse(new TextDecoder().decode(all.get(digest)));
  const index = parse("index.json");
  const seen: string[] = [];
  for (const entry of index.manifests) {
    const tag: string = entry.annotations["org.opencontainers.image.ref.name"];
    seen.push(tag);
    await t.step(tag, () => {
      const manifest = parse(entry.digest);
      const layer = manifest.layers[0];
      const [diffId] = parse(manifest.config.digest).rootfs.diff_ids;
      const attempt = () => {
        const opened = openLayer(all.get(layer.digest)!, layer);
        const plan = planFetch(opened.toc, NOTHING);
        const content = function* (number: number) {
          const pieces = [...contentBytes(plan, number, opened.blob)].map((piece) => piece.slice());
          if (sha256(pieces) !== digest(opened.toc.digests, number)) throw new Error("content");
          yield* pieces;
        };
        const tar = rebuildTar(opened.lines(), { files: opened.files, content });
        if (sha256(tar) !== diffId) throw new Error("layer");
        assert.equal(diffId, facts.diffId);
      };
      const fault = FAULTS[tag];
      if (fault === undefined) attempt();
      else assert.throws(attempt, { message: fault });
    });
  }
  assert.deepEqual(seen.sort(), Object.keys(facts.tags).sort());
});
