/**
 * Zstandard as the pure rooms see it: a codec that is handed in, and a frame walker that never
 * trusts its input. Walking the frames ourselves is needed since the usual decoders silently stop
 * after the first frame and ignore truncation and trailing garbage.
 *
 * @module
 */
import { FormatError } from "./errors.ts";

/** Compresses one frame piece by piece; memory is bounded apart from the result. */
export interface ZstdCompressor extends Disposable {
  /** Adds plain text; the bytes are not kept after the call. */
  push(bytes: Uint8Array): void;
  /** Ends the frame and returns it in pieces; the compressor must not be used again. */
  finish(): Uint8Array[];
  /** Compressed bytes that are held so far. */
  readonly size: number;
}

/** Decodes frames one after the other. */
export interface ZstdDecompressor extends Disposable {
  /**
   * Decodes one whole frame. Each piece is at most 1 MiB and valid until the next one is asked for.
   *
   * @throws {FormatError} when the frame's content is damaged (checksums are verified)
   */
  frame(bytes: Uint8Array): Iterable<Uint8Array>;
}

/** Where zstd comes from. */
export interface ZstdCodec {
  /** Name of the implementation, for `--version` and tests. */
  readonly implementation: string;
  /**
   * A new compressor: level 3, no content size, no checksum (spec: repository 10.4). Nothing pushed
   * gives the nine-byte empty frame.
   */
  compressor(): ZstdCompressor;
  /** A new decompressor; windows above 2^27 bytes are refused by {@linkcode zstdPieces}. */
  decompressor(): ZstdDecompressor;
  /** Compresses everything at once; the same bytes as {@linkcode ZstdCodec.compressor} gives. */
  compress(bytes: Uint8Array): Uint8Array;
}

/** The frame for empty input (spec: repository 10.4). */
export const ZSTD_EMPTY_FRAME: readonly number[] = [
  0x28,
  0xb5,
  0x2f,
  0xfd,
  0x20,
  0x00,
  0x01,
  0x00,
  0x00,
];

/** Largest piece of plain text a decompressor hands out. */
export const ZSTD_PIECE = 1 << 20;

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_HEADER = 8;
const MAGIC_SIZE = 4;
const CHECKSUM_SIZE = 4;
const MAX_WINDOW = 2 ** 27;
/** Size of the content size field by its flag; flag 0 has one byte in single-segment frames. */
const CONTENT_SIZE_FIELD = [0, 2, 4, 8];
const DICTIONARY_FIELD = [0, 1, 2, 4];
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;

/** Longest frame header: magic, descriptor, window, dictionary, content size. */
export const ZSTD_MAX_HEADER = 18;

/** What stands in front of a frame's blocks. */
export interface ZstdFrameHeader {
  /** Bytes of the header. */
  readonly length: number;
  /** Window size in bytes; 0 for a skippable frame. */
  readonly window: number;
  /** Bytes that follow the last block: the checksum, if any. */
  readonly trailer: number;
  /** Bytes of a skippable frame that follow its header; `undefined` for a data frame. */
  readonly skip: number | undefined;
}

/** One frame as its headers describe it. */
export interface ZstdFrame {
  /** Bytes of the whole frame with its headers and checksum. */
  readonly length: number;
  /** Whether this is a skippable frame, which holds no plain text. */
  readonly skippable: boolean;
  /** Window size in bytes; 0 for a skippable frame. */
  readonly window: number;
}

function fault(message: string, offset: number): FormatError {
  return new FormatError("zstd", message, { offset });
}

/**
 * Reads the frame header at `offset`; {@linkcode ZSTD_MAX_HEADER} bytes are always enough.
 *
 * @throws {FormatError} `Unknown frame descriptor`, `incomplete frame`, or for a window above 2^27
 */
export function zstdFrameHeader(bytes: Uint8Array, offset = 0): ZstdFrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length;
  if (end - offset < MAGIC_SIZE) throw fault("incomplete frame", offset);
  const magic = view.getUint32(offset, true);
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
    if (end - offset < SKIPPABLE_HEADER) throw fault("incomplete frame", offset);
    const skip = view.getUint32(offset + MAGIC_SIZE, true);
    return { length: SKIPPABLE_HEADER, window: 0, trailer: 0, skip };
  }
  if (magic !== FRAME_MAGIC) throw fault("Unknown frame descriptor", offset);
  let at = offset + MAGIC_SIZE;
  if (at >= end) throw fault("incomplete frame", offset);
  const descriptor = bytes[at++]!;
  const single = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) throw fault("Unsupported frame parameter", offset);
  const sizeField = CONTENT_SIZE_FIELD[descriptor >> 6]! || (single ? 1 : 0);
  const windowAt = at;
  if (!single) at += 1;
  at += DICTIONARY_FIELD[descriptor & 3]!;
  const sizeAt = at;
  at += sizeField;
  if (at > end) throw fault("incomplete frame", offset);
  let window: number;
  if (single) {
    window = sizeField === 1
      ? bytes[sizeAt]!
      : sizeField === 2
      ? view.getUint16(sizeAt, true) + 256
      : sizeField === 4
      ? view.getUint32(sizeAt, true)
      : Number(view.getBigUint64(sizeAt, true));
  } else {
    const base = 2 ** (10 + (bytes[windowAt]! >> 3));
    window = base + base / 8 * (bytes[windowAt]! & 7);
  }
  if (window > MAX_WINDOW) throw fault("Frame requires too much memory for decoding", offset);
  const trailer = (descriptor & 0x04) !== 0 ? CHECKSUM_SIZE : 0;
  return { length: at - offset, window, trailer, skip: undefined };
}

/** Size of the header of every block. */
export const ZSTD_BLOCK_HEADER = 3;

/**
 * Reads the block header at `offset`.
 *
 * @returns bytes of the block behind its header, and whether it is the frame's last
 */
export function zstdBlock(bytes: Uint8Array, offset = 0): { length: number; last: boolean } {
  const header = bytes[offset]! | bytes[offset + 1]! << 8 | bytes[offset + 2]! << 16;
  const type = (header >> 1) & 3;
  if (type === BLOCK_RESERVED) throw fault("Data corruption detected", offset);
  return { length: type === BLOCK_RLE ? 1 : header >> 3, last: (header & 1) !== 0 };
}

/**
 * Walks the headers of the frame at `offset`: magic, frame header, blocks, checksum.
 *
 * @returns what the headers say; the content itself is not decoded
 * @throws {FormatError} `Unknown frame descriptor` or `incomplete frame`
 */
export function zstdFrame(bytes: Uint8Array, offset = 0): ZstdFrame {
  const end = bytes.length;
  const header = zstdFrameHeader(bytes, offset);
  let at = offset + header.length;
  if (header.skip !== undefined) at += header.skip;
  for (let last = header.skip !== undefined; !last;) {
    if (end - at < ZSTD_BLOCK_HEADER) throw fault("incomplete frame", offset);
    const block = zstdBlock(bytes, at);
    at += ZSTD_BLOCK_HEADER + block.length;
    if (at > end) throw fault("incomplete frame", offset);
    last = block.last;
  }
  at += header.trailer;
  if (at > end) throw fault("incomplete frame", offset);
  return { length: at - offset, skippable: header.skip !== undefined, window: header.window };
}

/**
 * The length in bytes of the frame (data or skippable) at `offset`.
 *
 * @throws {FormatError} when no whole frame is there
 */
export function frameLength(bytes: Uint8Array, offset = 0): number {
  return zstdFrame(bytes, offset).length;
}

/** Options of {@linkcode zstdPieces}. */
export interface ZstdPiecesOptions {
  /** More plain text than this many bytes is an error. */
  readonly limit: number;
}

/**
 * The plain text of all frames of a section, in pieces of at most 1 MiB; each piece is valid until
 * the next one is asked for. Skippable frames are skipped; anything else between or after the
 * frames is an error, and so is a section without any frame (spec: repository 11).
 *
 * @throws {FormatError} at damaged or truncated frames, windows above 2^27, or beyond the limit
 */
export function* zstdPieces(
  codec: ZstdCodec,
  section: Uint8Array,
  options: ZstdPiecesOptions,
): Generator<Uint8Array, void, undefined> {
  using decompressor = codec.decompressor();
  let offset = 0;
  let total = 0;
  do {
    const frame = zstdFrame(section, offset);
    if (!frame.skippable) {
      for (const piece of decompressor.frame(section.subarray(offset, offset + frame.length))) {
        total += piece.length;
        if (total > options.limit) {
          throw new FormatError("zstd", `Plain text exceeds ${options.limit} bytes`, { offset });
        }
        yield piece;
      }
    }
    offset += frame.length;
  } while (offset < section.length);
}
