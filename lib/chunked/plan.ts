import { NumberColumn } from "./columns.ts";
import { toByteString } from "../base/mod.ts";
import { DIGEST_SIZE } from "./layout.ts";
import {
  type BlobRange,
  DEFAULT_GAP,
  type MergeOptions,
  mergeRanges,
  rangeBytes,
} from "./ranges.ts";
import type { Toc } from "./toc.ts";

/** Where content is that needs no fetching. */
export type KnownContent =
  | {
    /** Whatever the caller finds the content by. */
    readonly object: string;
    /** Where it starts in the object, in bytes. */
    readonly offset: number;
  }
  | {
    /** The content itself, of a small file. */
    readonly bytes: Uint8Array;
  };

/** What is there already, by the sha256 of the content. */
export interface KnownContents {
  /**
   * Looks up the content of a whole file.
   *
   * @param digest raw sha256; valid during the call
   */
  file(digest: Uint8Array, size: number): KnownContent | undefined;
  /** Looks up a chunk of a file of several, if chunks are known. */
  chunk?(digest: Uint8Array, size: number): KnownContent | undefined;
}

/** How a piece of content is had. */
export const PIECE = { fetch: 0, zeros: 1, known: 2 } as const;

/** What a layer needs, in columns: plain data that workers can be sent. */
export interface FetchPlan {
  /** Number of the first piece of each content, and one more for the end. */
  readonly firstPiece: Float64Array;
  /** How each piece is had: a value of {@linkcode PIECE}. */
  readonly kinds: Uint8Array;
  /** Bytes of each piece. */
  readonly sizes: Float64Array;
  /** Where its frame starts in the blob; for a known piece its place in `known`. */
  readonly places: Float64Array;
  /** Compressed bytes of its frame; 0 for other pieces. */
  readonly lengths: Float64Array;
  /** What is known. */
  readonly known: readonly KnownContent[];
  /** Stretches of the blob to fetch, disjoint and in order. */
  readonly ranges: readonly BlobRange[];
  /** Bytes in these. */
  readonly fetchBytes: number;
  /** Bytes of content that are there already, or come with a copy in the same layer. */
  readonly reusedBytes: number;
  /** Bytes of all contents. */
  readonly contentBytes: number;
}

/** Chunks that are to be fetched, the same content once. */
class Wanted {
  readonly #toc: Toc;
  /** Chunks of the same content, by digest and size. */
  readonly #copies = new Map<string, number[]>();

  constructor(toc: Toc) {
    this.#toc = toc;
  }

  #key(chunk: number): string {
    const at = chunk * DIGEST_SIZE;
    const digest = toByteString(this.#toc.chunkDigests.subarray(at, at + DIGEST_SIZE));
    return `${digest}${this.#toc.chunkSizes[chunk]}`;
  }

  /** Adds a chunk; false when its content is wanted already. */
  add(chunk: number): boolean {
    const key = this.#key(chunk);
    const copies = this.#copies.get(key);
    if (copies === undefined) this.#copies.set(key, [chunk]);
    else copies.push(chunk);
    return copies === undefined;
  }

  /** Chooses the copies to fetch: those so near to what is fetched anyway that no range is added. */
  choose(gap: number): { chunk: (wanted: number) => number; ranges: BlobRange[] } {
    const { chunkStarts, chunkEnds } = this.#toc;
    const single: number[] = [];
    const several: number[][] = [];
    for (const copies of this.#copies.values()) {
      if (copies.length === 1) single.push(copies[0]!);
      else several.push(copies);
    }
    single.sort((a, b) => a - b);
    // Frames are in the order of the chunks, so the next chunk is the one that is near.
    const distance = (chunk: number) => {
      let low = 0;
      for (let high = single.length; low < high;) {
        const middle = (low + high) >>> 1;
        if (single[middle]! < chunk) low = middle + 1;
        else high = middle;
      }
      const after = low < single.length ? chunkStarts[single[low]!]! - chunkEnds[chunk]! : Infinity;
      const before = low > 0 ? chunkStarts[chunk]! - chunkEnds[single[low - 1]!]! : Infinity;
      return Math.min(after, before);
    };
    const chosen = [...single];
    for (const copies of several) {
      let best = copies[0]!;
      let least = gap + 1;
      for (const copy of copies) {
        const found = distance(copy);
        if (found < least) [best, least] = [copy, found];
      }
      chosen.push(best);
      copies[0] = best;
    }
    chosen.sort((a, b) => a - b);
    const ranges = chosen.map((chunk) => ({ start: chunkStarts[chunk]!, end: chunkEnds[chunk]! }));
    return { chunk: (wanted) => this.#copies.get(this.#key(wanted))![0]!, ranges };
  }
}

const NOT_KNOWN = -1;

/**
 * Decides for each content of a layer whether it is there, is zeros, or has to be fetched (spec:
 * zstd-chunked 6 steps 3 to 5).
 */
export function planFetch(
  toc: Toc,
  known: KnownContents,
  options: MergeOptions = {},
): FetchPlan {
  const contents = toc.sizes.length;
  const found: KnownContent[] = [];
  /** For each content and for each chunk its place in `found`. */
  const foundFile = new Int32Array(contents).fill(NOT_KNOWN);
  const foundChunk = new Int32Array(toc.chunkSizes.length).fill(NOT_KNOWN);
  const wanted = new Wanted(toc);
  let reusedBytes = 0;
  let contentBytes = 0;
  let pieceCount = 0;
  for (let content = 0; content < contents; content++) {
    const size = toc.sizes[content]!;
    contentBytes += size;
    const file = known.file(digestAt(toc.digests, content), size);
    if (file !== undefined) {
      foundFile[content] = found.push(file) - 1;
      reusedBytes += size;
      pieceCount++;
      continue;
    }
    const end = toc.firstChunk[content + 1]!;
    for (let chunk = toc.firstChunk[content]!; chunk < end; chunk++) {
      pieceCount++;
      if (toc.chunkZeros[chunk] === 1) continue;
      const chunkSize = toc.chunkSizes[chunk]!;
      const part = known.chunk?.(digestAt(toc.chunkDigests, chunk), chunkSize);
      if (part !== undefined) foundChunk[chunk] = found.push(part) - 1;
      if (part !== undefined || !wanted.add(chunk)) reusedBytes += chunkSize;
    }
  }
  const choice = wanted.choose(options.gap ?? DEFAULT_GAP);
  const ranges = mergeRanges(choice.ranges, options);
  const firstPiece = new NumberColumn();
  const kinds = new Uint8Array(pieceCount);
  const sizes = new Float64Array(pieceCount);
  const places = new Float64Array(pieceCount);
  const lengths = new Float64Array(pieceCount);
  let piece = 0;
  for (let content = 0; content < contents; content++) {
    firstPiece.push(piece);
    if (foundFile[content] !== NOT_KNOWN) {
      kinds[piece] = PIECE.known;
      sizes[piece] = toc.sizes[content]!;
      places[piece++] = foundFile[content]!;
      continue;
    }
    const end = toc.firstChunk[content + 1]!;
    for (let chunk = toc.firstChunk[content]!; chunk < end; chunk++, piece++) {
      sizes[piece] = toc.chunkSizes[chunk]!;
      if (toc.chunkZeros[chunk] === 1) kinds[piece] = PIECE.zeros;
      else if (foundChunk[chunk] !== NOT_KNOWN) {
        kinds[piece] = PIECE.known;
        places[piece] = foundChunk[chunk]!;
      } else {
        const source = choice.chunk(chunk);
        kinds[piece] = PIECE.fetch;
        places[piece] = toc.chunkStarts[source]!;
        lengths[piece] = toc.chunkEnds[source]! - toc.chunkStarts[source]!;
      }
    }
  }
  firstPiece.push(piece);
  return {
    firstPiece: firstPiece.finish(),
    kinds,
    sizes,
    places,
    lengths,
    known: found,
    ranges,
    fetchBytes: rangeBytes(ranges),
    reusedBytes,
    contentBytes,
  };
}

function digestAt(digests: Uint8Array, index: number): Uint8Array {
  return digests.subarray(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE);
}
