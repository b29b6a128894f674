/**
 * The fixtures of zstd:chunked layers in memory.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { nodeZstd } from "../../lib/base/mod.ts";
import {
  type ChunkedLayer,
  chunkedSupport,
  joinTarSplit,
  parseToc,
  SKIPPABLE_HEADER,
  type TarSplitLine,
  tarSplitLines,
  type Toc,
  unpackPart,
  unpackWhole,
} from "../../lib/chunked/mod.ts";
import { locateTarMembers } from "../../lib/tar/mod.ts";
import { ROOT } from "../helpers/run.ts";

/** Where they are. */
export const FIXTURES = `${ROOT}fixtures/zstd-chunked/`;

/** Layouts of the current generation. */
export const NEW = ["basic", "names", "utf8names", "sparse", "emptytar", "update-v1", "update-v2"]
  .map((name) => `${name}-new`);

/** Layouts whose encoder was faulty. */
export const OLD = ["basic-old", "names-old", "sparse-old"];

/** A layer's descriptor. */
export interface LayerDescriptor {
  digest: string;
  size: number;
  annotations: Record<string, string>;
}

/** What `NAME.expected.json` holds. */
export interface Expected {
  layer: LayerDescriptor;
  diffIdInConfig: string;
  sha256OfFullDecode: string;
  fullDecodeSize: number;
  frames: { offset: number; length: number; magic: string }[];
  footerHex: string;
  files: {
    name: string;
    size: number;
    digest: string;
    chunks: {
      blobOffset: number;
      blobEnd: number;
      fileOffset: number;
      size: number;
      type: string;
      digest: string | null;
    }[];
  }[];
  rebuiltDigest?: string;
  layerSplitstreamObject?: string;
  contentObjects?: string[];
}

/** Reads the expectations of a layout. */
export function expected(name: string): Expected {
  return JSON.parse(Deno.readTextFileSync(`${FIXTURES}${name}.expected.json`));
}

/** Files of a layout: blobs by digest, others by name. */
export function blobs(name: string): Map<string, Uint8Array> {
  const archive = Deno.readFileSync(`${FIXTURES}${name}.tar`);
  const read = (buffer: Uint8Array, offset: number) => {
    const part = archive.subarray(offset, offset + buffer.length);
    buffer.set(part);
    return part.length;
  };
  const out = new Map<string, Uint8Array>();
  for (const { path, offset, size } of locateTarMembers(read, archive.length)) {
    const match = /^blobs\/(\w+)\/(\w+)$/.exec(path);
    const key = match ? `${match[1]}:${match[2]}` : path;
    out.set(key, archive.subarray(offset, offset + size));
  }
  return out;
}

/** `sha256:` digest of pieces. */
export function sha256(pieces: Iterable<Uint8Array>): string {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return `sha256:${hash.digest("hex")}`;
}

/** A layer that was opened as far as fetching goes. */
export interface OpenedLayer {
  blob: Uint8Array;
  chunked: ChunkedLayer;
  tocText: Uint8Array;
  toc: Toc;
  lines: () => Iterable<TarSplitLine>;
  files: Float64Array;
}

/** Opens a layer by its annotations, with all checks; throws for whatever is wrong. */
export function openLayer(blob: Uint8Array, layer: LayerDescriptor): OpenedLayer {
  const support = chunkedSupport(layer.annotations, layer.size);
  if (support.kind !== "chunked") throw new Error(support.reason);
  const { toc: at, tocDigest, tarSplit } = support.layer;
  const part = ({ offset, length }: { offset: number; length: number }) =>
    blob.subarray(offset, offset + length);
  if (sha256([part(at)]) !== tocDigest.toString()) throw new Error("TOC digest");
  const tocText = unpackWhole(nodeZstd, part(at), { size: at.size, what: "TOC" });
  const toc = parseToc(tocText, at.offset - SKIPPABLE_HEADER);
  if (sha256([part(tarSplit)]) !== toc.tarSplitDigest) throw new Error("tar-split digest");
  const lines = () =>
    tarSplitLines(
      unpackPart(nodeZstd, part(tarSplit), { size: tarSplit.size, what: "tar-split" }),
    );
  const files = joinTarSplit(toc, lines);
  return { blob, chunked: support.layer, tocText, toc, lines, files };
}

/** Opens the layer of a fixture. */
export function openFixture(name: string): OpenedLayer & { expected: Expected } {
  const facts = expected(name);
  const blob = blobs(name).get(facts.layer.digest)!;
  return { ...openLayer(blob, facts.layer), expected: facts };
}
