import {
  FormatError,
  type ZstdCodec,
  type ZstdDecompressor,
  zstdFrame,
  zstdPieces,
} from "../base/mod.ts";
import type { PartLocation } from "./annotations.ts";
import { FILE_LINE, type TarSplitLine } from "./tar_split.ts";

const NONE = -1;

/**
 * Puts a tar together again from its tar-split and the contents of its files (spec: zstd-chunked
 * 4).
 *
 * @param lines the tar-split
 * @param options.files the content of each file line, from {@linkcode joinTarSplit}
 * @param options.content gives the bytes of a content
 * @returns pieces of the tar that are valid until the next one is asked for
 */
export function* rebuildTar(
  lines: Iterable<TarSplitLine>,
  options: { files: Float64Array; content: (content: number) => Iterable<Uint8Array> },
): Generator<Uint8Array, void, undefined> {
  const { files, content } = options;
  let file = 0;
  for (const line of lines) {
    if (line.type === FILE_LINE) {
      const number = files[file++] ?? NONE;
      if (number !== NONE) yield* content(number);
    } else if (line.payload.length > 0) yield line.payload;
  }
}

/**
 * Unpacks a compressed part of the blob that must have the announced size: more or less is a fault,
 * and nothing of that size is allocated (spec: zstd-chunked 7).
 *
 * @param compressed the part's bytes
 * @returns pieces of at most 1 MiB that are valid until the next one is asked for
 * @throws {FormatError} while iterating
 */
export function* unpackPart(
  codec: ZstdCodec,
  compressed: Uint8Array,
  options: { size: PartLocation["size"]; what: string },
): Generator<Uint8Array, void, undefined> {
  const { size, what } = options;
  let total = 0;
  for (const piece of zstdPieces(codec, compressed, { limit: size })) {
    total += piece.length;
    yield piece;
  }
  if (total !== size) {
    throw new FormatError("zstd:chunked", `${what} has ${total} bytes, not ${size}`);
  }
}

/** Unpacks chunks, with one decompressor for all of them. */
export class ChunkUnpacker implements Disposable {
  readonly #decompressor: ZstdDecompressor;

  /** Opens the decompressor. */
  constructor(codec: ZstdCodec) {
    this.#decompressor = codec.decompressor();
  }

  /**
   * Unpacks a chunk, whose bytes are exactly one frame (spec: zstd-chunked 6 step 6).
   *
   * @param size bytes it must have
   * @returns pieces of at most 1 MiB that are valid until the next one is asked for
   * @throws {FormatError} while iterating; the unpacker must not be used again then
   */
  *unpack(compressed: Uint8Array, size: number): Generator<Uint8Array, void, undefined> {
    const frame = zstdFrame(compressed);
    if (frame.skippable || frame.length !== compressed.length) {
      throw new FormatError("zstd:chunked", "Chunk is not one frame");
    }
    let total = 0;
    for (const piece of this.#decompressor.frame(compressed)) {
      total += piece.length;
      if (total > size) break;
      yield piece;
    }
    if (total !== size) {
      throw new FormatError("zstd:chunked", `Chunk does not have ${size} bytes`);
    }
  }

  /** Gives the decompressor back. */
  [Symbol.dispose](): void {
    this.#decompressor[Symbol.dispose]();
  }
}

/** A whole part in memory, whose size is small enough for that. */
export function unpackWhole(
  codec: ZstdCodec,
  compressed: Uint8Array,
  options: { size: number; what: string },
): Uint8Array<ArrayBuffer> {
  // Grows with what comes: the announced size may be a lie.
  let out = new Uint8Array(Math.min(options.size, 1 << 20));
  let used = 0;
  for (const piece of unpackPart(codec, compressed, options)) {
    if (used + piece.length > out.length) {
      const grown = new Uint8Array(
        Math.min(options.size, Math.max(out.length * 2, used + (1 << 20))),
      );
      grown.set(out.subarray(0, used));
      out = grown;
    }
    out.set(piece, used);
    used += piece.length;
  }
  return out.subarray(0, used);
}
