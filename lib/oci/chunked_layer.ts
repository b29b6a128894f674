/** Looking at a zstd:chunked layer without fetching it: what it has, and what it would take. */
import { ComposefsError, Digest, FormatError, nodeZstd } from "../base/mod.ts";
import {
  type BlobRange,
  type ChunkedLayer,
  chunkedSupport,
  type FetchPlan,
  joinTarSplit,
  parseToc,
  type PartLocation,
  planFetch,
  SKIPPABLE_HEADER,
  tarSplitLines,
  type Toc,
  unpackPart,
  unpackWhole,
} from "../chunked/mod.ts";
import { preadFull } from "../../ffi/mod.ts";
import { type Descriptor, type ImageSource, verifyBytes } from "../transport/mod.ts";
import type { ContentCache } from "./content_cache.ts";
import type { WantedLayer } from "./layer_supply.ts";

/** Table of contents and tar-split are fetched in one go when no more than this lies between. */
const NEAR = 4096;

/** Share of a blob above which all of it is fetched: one request, and its digest is checked too. */
const WORTH_WHILE = 0.8;

/** Why a layer is fetched whole. */
export interface WholeReason {
  /** In words. */
  readonly reason: string;
  /** Whether something is wrong, as opposed to just not worth it. */
  readonly suspicious: boolean;
  /** What went wrong, when something did. */
  readonly error?: ComposefsError;
}

/** A layer's table of contents and tar-split, verified and joined. */
export interface OpenedChunked {
  /** Where they are in the blob. */
  readonly at: ChunkedLayer;
  /** The table of contents. */
  readonly toc: Toc;
  /** The compressed tar-split. */
  readonly tarSplit: Uint8Array;
  /** Content of each file line of the tar-split. */
  readonly files: Float64Array;
  /** Bytes that were read for this. */
  readonly tocBytes: number;
}

/**
 * Reads parts of a blob into memory; nothing vouches for them yet.
 *
 * @returns undefined when the source gives only whole blobs
 */
export async function readParts(
  source: ImageSource,
  descriptor: Descriptor,
  options: { ranges: readonly BlobRange[]; signal: AbortSignal },
): Promise<Uint8Array[] | undefined> {
  const { ranges, signal } = options;
  // Carved from at least a page: their addresses are taken.
  const parts = ranges.map(({ start, end }) =>
    new Uint8Array(new ArrayBuffer(Math.max(end - start, 4096)), 0, end - start)
  );
  if (source.ranges !== undefined) {
    const fill = new Map(ranges.map(({ start }, i) => [start, { part: parts[i]!, used: 0 }]));
    const sink = ({ offset }: { offset: number }, piece: Uint8Array) => {
      const target = fill.get(offset);
      if (target === undefined || piece.length > target.part.length - target.used) {
        throw new FormatError("blob", `Bytes at ${offset} were not asked for`);
      }
      target.part.set(piece, target.used);
      target.used += piece.length;
    };
    const asked = ranges.map(({ start, end }) => ({ offset: start, size: end - start }));
    if (!await source.ranges(descriptor, asked, { signal, sink })) return undefined;
    for (const { part, used } of fill.values()) {
      if (used !== part.length) throw new FormatError("blob", "A part of the blob is missing");
    }
    return parts;
  }
  if (source.remote) return undefined;
  using blob = await source.blob(descriptor, { signal });
  ranges.forEach(({ start }, i) => {
    if (preadFull(blob.fd, parts[i]!, blob.offset + start) !== parts[i]!.length) {
      throw new FormatError("blob", "Blob is shorter than announced");
    }
  });
  return parts;
}

/** Table of contents and tar-split as they are in the blob. */
async function readTables(
  source: ImageSource,
  descriptor: Descriptor,
  options: { at: ChunkedLayer; signal: AbortSignal },
): Promise<{ toc: Uint8Array; tarSplit: Uint8Array; bytes: number } | undefined> {
  const { at: { toc, tarSplit }, signal } = options;
  const range = ({ offset, length }: PartLocation) => ({ start: offset, end: offset + length });
  const [first, second] = toc.offset < tarSplit.offset ? [toc, tarSplit] : [tarSplit, toc];
  const gap = second.offset - first.offset - first.length;
  if (gap < 0) throw new FormatError("zstd:chunked", "table of contents and tar-split overlap");
  const near = gap <= NEAR;
  const ranges = near
    ? [{ start: first.offset, end: second.offset + second.length }]
    : [range(first), range(second)];
  const parts = await readParts(source, descriptor, { ranges, signal });
  if (parts === undefined) return undefined;
  const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  const cut = (part: PartLocation) => {
    if (!near) return parts[part === first ? 0 : 1]!;
    const start = part.offset - first.offset;
    return parts[0]!.subarray(start, start + part.length);
  };
  return { toc: cut(toc), tarSplit: cut(tarSplit), bytes };
}

/**
 * Opens a layer that can be fetched in parts (spec: zstd-chunked 6 steps 1 and 2).
 *
 * @returns the reason, when it has to be fetched whole
 * @throws {ComposefsError} when its tables are not what was announced, or the source fails
 */
export async function openChunked(
  source: ImageSource,
  layer: WantedLayer,
  signal: AbortSignal,
): Promise<OpenedChunked | WholeReason> {
  const { descriptor, id } = layer;
  if (layer.tar === undefined || id === descriptor.digest) {
    return { reason: "no diff_id is announced", suspicious: false };
  }
  const support = chunkedSupport(descriptor.annotations, descriptor.size);
  if (support.kind === "whole") return support;
  const at = support.layer;
  const tables = await readTables(source, descriptor, { at, signal });
  if (tables === undefined) {
    return { reason: "the source gives only whole blobs", suspicious: false };
  }
  verifyBytes(tables.toc, at.tocDigest, "table of contents");
  const options = { size: at.toc.size, what: "table of contents" };
  const text = unpackWhole(nodeZstd, tables.toc, options);
  const toc = parseToc(text, Math.min(at.toc.offset, at.tarSplit.offset) - SKIPPABLE_HEADER);
  if (toc.tarSplitDigest === undefined) {
    return { reason: "the table of contents does not vouch for the tar-split", suspicious: true };
  }
  const { tarSplit } = tables;
  verifyBytes(tarSplit, Digest.parse(toc.tarSplitDigest), "tar-split");
  const { size } = at.tarSplit;
  const lines = () => tarSplitLines(unpackPart(nodeZstd, tarSplit, { size, what: "tar-split" }));
  return { at, toc, tarSplit, files: joinTarSplit(toc, lines), tocBytes: tables.bytes };
}

/** Bytes around a range that asking for it costs, by what a source is. */
const LOCAL_GAP = 0;

/**
 * Plans what to fetch of an opened layer, given what the repository has (spec: zstd-chunked 6 steps
 * 3 to 5).
 */
export async function planChunked(
  opened: OpenedChunked,
  contents: ContentCache,
  options: { remote: boolean; signal: AbortSignal },
): Promise<FetchPlan> {
  await contents.search(opened.toc, options);
  return planFetch(opened.toc, contents, options.remote ? {} : { gap: LOCAL_GAP });
}

/** What fetching a layer in parts would take. */
export interface ChunkedForecast {
  /** Bytes to fetch, the tables included. */
  readonly fetchBytes: number;
  /** Requests, or rather stretches of the blob. */
  readonly requests: number;
  /** Bytes of content that are there already. */
  readonly reusedBytes: number;
  /** Bytes of the tables, which this has fetched. */
  readonly tocBytes: number;
}

/**
 * Whether fetching parts saves something.
 *
 * @returns the reason when it does not
 */
export function notWorthWhile(
  source: ImageSource,
  descriptor: Descriptor,
  fetchBytes: number,
): string | undefined {
  // What an interrupted pull has left need not be fetched again.
  const left = descriptor.size - (source.held?.(descriptor) ?? 0);
  if (fetchBytes <= WORTH_WHILE * left) return undefined;
  return `${fetchBytes} bytes in parts would be fetched in the place of ${left}`;
}

/**
 * Tells what fetching a layer in parts would take; only its tables are fetched, nothing is stored.
 *
 * @returns the reason, when it has to be fetched whole
 */
export async function forecastChunked(
  source: ImageSource,
  layer: WantedLayer,
  options: { contents: ContentCache; signal: AbortSignal },
): Promise<ChunkedForecast | WholeReason> {
  const { contents, signal } = options;
  const { remote } = source;
  try {
    const opened = await openChunked(source, layer, signal);
    if ("reason" in opened) return opened;
    const plan = await planChunked(opened, contents, { remote, signal });
    const fetchBytes = plan.fetchBytes + opened.tocBytes;
    const reason = notWorthWhile(source, layer.descriptor, plan.fetchBytes);
    if (reason !== undefined) return { reason, suspicious: false };
    const { tocBytes } = opened;
    return {
      fetchBytes,
      requests: plan.ranges.length + 1,
      reusedBytes: plan.reusedBytes,
      tocBytes,
    };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ComposefsError)) throw error;
    return { reason: error.message, suspicious: true, error };
  }
}
