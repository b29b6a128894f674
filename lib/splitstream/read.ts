import type { Algorithm, ObjectId, ZstdCodec } from "../base/mod.ts";
import { FormatError, objectIdFromBytes, Reader, toByteString, zstdPieces } from "../base/mod.ts";
import { HEADER, HEADER_SIZE, INFO, INFO_SIZE, INSTRUCTION_SIZE, LIMITS } from "./layout.ts";
import { MAGIC, OLD_HEADER, VERSION } from "./layout.ts";

/** A chunk of the stream: inline bytes, or the index of an object reference. */
export type SplitstreamChunk =
  | { readonly type: "inline"; readonly bytes: Uint8Array }
  | { readonly type: "external"; readonly index: number };

/** What {@linkcode openSplitstream} needs. */
export interface OpenSplitstreamOptions {
  /** The repository's algorithm; a stream of another one is refused. */
  readonly algorithm: Algorithm;
  /** When given, a stream of another content type is refused (spec: repository 10.5). */
  readonly contentType?: bigint;
  /** Decompressor of the sections. */
  readonly codec: ZstdCodec;
}

/** The object ids of a reference section, made only when asked for. */
export class RefTable implements Iterable<ObjectId> {
  /** The raw digests one after the other; a view of the file. */
  readonly bytes: Uint8Array;
  /** Number of references. */
  readonly length: number;
  readonly #size: number;

  /** Wraps the raw digests of a section; `size` is that of one digest in bytes. */
  constructor(bytes: Uint8Array, size: number) {
    this.bytes = bytes;
    this.#size = size;
    this.length = bytes.length / size;
  }

  /**
   * The id at `index`.
   *
   * @throws {FormatError} `Splitstream external reference is out of range`
   */
  id(index: number): ObjectId {
    if (!(index >= 0 && index < this.length)) {
      throw new FormatError("splitstream", "Splitstream external reference is out of range");
    }
    return objectIdFromBytes(this.bytes, index * this.#size, (index + 1) * this.#size);
  }

  /** All ids in file order; duplicates are kept. */
  *[Symbol.iterator](): Generator<ObjectId, void, undefined> {
    for (let index = 0; index < this.length; index++) yield this.id(index);
  }
}

/** An opened splitstream: header and references are checked, the stream itself is not read yet. */
export interface Splitstream {
  /** Content type (spec: repository 10.5). */
  readonly contentType: bigint;
  /** Announced size of the reassembled stream in bytes; not verified when opening. */
  readonly streamSize: bigint;
  /** Other streams and images that are referred to, named or not. */
  readonly streamRefs: RefTable;
  /** Data objects, whether in the stream or not. */
  readonly objectRefs: RefTable;
  /** Names to stream references; of a name that occurs twice the last one counts. */
  readonly namedRefs: ReadonlyMap<string, ObjectId>;
  /**
   * The chunks in order. Inline chunks come in pieces of at most 1 MiB, valid until the next chunk
   * is asked for, and are not merged.
   *
   * @throws {FormatError} while iterating; its offset counts bytes of the plain stream text
   */
  chunks(): Generator<SplitstreamChunk, void, undefined>;
}

const MAGIC_BYTES = MAGIC.length;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function fail(message: string, offset?: number): FormatError {
  return new FormatError("splitstream", message, offset === undefined ? undefined : { offset });
}

/** A range of the file, checked against its size before anything is done with it. */
function rangeAt(file: Uint8Array, at: number): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = view.getBigUint64(at, true);
  const end = view.getBigUint64(at + INSTRUCTION_SIZE, true);
  if (end < start) throw fail("Negative-sized range in splitstream", at);
  if (end > BigInt(file.length)) throw fail("Incomplete read from splitstream file", at);
  return file.subarray(Number(start), Number(end));
}

/** Bytes of a file that {@linkcode isSplitstream} looks at. */
export const SPLITSTREAM_HEAD_SIZE: number = OLD_HEADER.magic[0] + MAGIC_BYTES;

/** Whether a file that starts with these bytes is a splitstream, of either header. */
export function isSplitstream(head: Uint8Array): boolean {
  return hasMagic(head, HEADER.magic[0]) || hasMagic(head, OLD_HEADER.magic[0]);
}

function hasMagic(file: Uint8Array, at: number): boolean {
  return toByteString(file.subarray(at, at + MAGIC_BYTES)) === MAGIC;
}

/** Checks the header of either layout and returns the info section. */
function readHeader(file: Uint8Array, algorithm: Algorithm): Uint8Array {
  if (file.length < HEADER_SIZE) throw fail("Splitstream file is shorter than its header");
  const layout = hasMagic(file, HEADER.magic[0])
    ? HEADER
    : hasMagic(file, OLD_HEADER.magic[0])
    ? OLD_HEADER
    : undefined;
  if (layout === undefined) throw fail("Invalid splitstream header magic value", 0);
  const version = file[layout.version[0]]!;
  if (version !== VERSION) throw fail(`Invalid splitstream version ${version}`);
  if (file[layout.algorithm[0]] !== algorithm.kernelId) {
    throw fail("Invalid splitstream fs-verity algorithm type");
  }
  if (file[layout.lgBlockSize[0]] !== algorithm.lgBlockSize) {
    throw fail("Invalid splitstream fs-verity block size");
  }
  return rangeAt(file, layout.info[0]);
}

function refTable(section: Uint8Array, size: number): RefTable {
  if (section.length % size !== 0 || section.length / size > LIMITS.objectRefs) {
    throw fail(`Splitstream references take ${section.length} bytes, not a multiple of ${size}`);
  }
  return new RefTable(section, size);
}

/** Parses the `<index>:<name>\0` records (spec: repository 10.3). */
function namedRefs(
  section: Uint8Array,
  refs: RefTable,
  codec: ZstdCodec,
): Map<string, ObjectId> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (const piece of zstdPieces(codec, section, { limit: LIMITS.namedRefs })) {
    pieces.push(piece.slice());
    length += piece.length;
  }
  const plain = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    plain.set(piece, at);
    at += piece.length;
  }
  const out = new Map<string, ObjectId>();
  const ids = new Map<number, ObjectId>();
  let count = 0;
  for (let start = 0; start < length;) {
    const end = plain.indexOf(0, start);
    if (end < 0) throw fail("Trailing junk in named references section", start);
    if (++count > LIMITS.namedRefCount) {
      throw fail(`More than ${LIMITS.namedRefCount} named references`, start);
    }
    let record: string;
    try {
      record = utf8.decode(plain.subarray(start, end));
    } catch (error) {
      throw new FormatError("splitstream", "Named reference is not valid UTF-8", {
        offset: start,
        cause: error,
      });
    }
    const colon = record.indexOf(":");
    if (colon < 0) throw fail("Named reference doesn't contain a colon", start);
    const digits = record.slice(0, colon);
    if (!/^\+?[0-9]+$/.test(digits)) {
      throw fail("Named reference contains a non-integer index", start);
    }
    const index = Number(digits);
    if (index >= refs.length) throw fail("Named reference out of bounds", start);
    // One text for all names of an object.
    const id = ids.get(index) ?? refs.id(index);
    ids.set(index, id);
    out.set(record.slice(colon + 1), id);
    start = end + 1;
  }
  return out;
}

/** Reads the stream section chunk by chunk, with the bounds of spec: repository 14.7. */
class ChunkReader {
  readonly #stream: Uint8Array;
  readonly #codec: ZstdCodec;
  readonly #refs: number;
  /** Inline bytes and external chunks that there may be. */
  readonly #budget: number;
  readonly #externals: number;

  constructor(stream: Uint8Array, codec: ZstdCodec, refs: number, streamSize: bigint) {
    this.#stream = stream;
    this.#codec = codec;
    this.#refs = refs;
    const size = Number(streamSize);
    // Whoever wrote the file has chosen the size as well.
    this.#budget = Math.min(size + LIMITS.slack, LIMITS.inline);
    this.#externals = Math.min(size + LIMITS.slack, LIMITS.externals);
  }

  *read(): Generator<SplitstreamChunk, void, undefined> {
    const word = new Uint8Array(INSTRUCTION_SIZE);
    const wordView = new DataView(word.buffer);
    let wordUsed = 0;
    let inlineLeft = 0;
    let inlineTotal = 0;
    let externals = 0;
    /** Offset of the current piece in the plain text. */
    let base = 0;
    for (const piece of zstdPieces(this.#codec, this.#stream, { limit: Infinity })) {
      const length = piece.length;
      for (let at = 0; at < length;) {
        if (inlineLeft > 0) {
          const count = Math.min(inlineLeft, length - at);
          inlineLeft -= count;
          yield { type: "inline", bytes: piece.subarray(at, at + count) };
          at += count;
          continue;
        }
        while (wordUsed < INSTRUCTION_SIZE && at < length) word[wordUsed++] = piece[at++]!;
        if (wordUsed < INSTRUCTION_SIZE) break;
        wordUsed = 0;
        const high = wordView.getInt32(INSTRUCTION_SIZE / 2, true);
        const value = high * 2 ** 32 + wordView.getUint32(0, true);
        const offset = base + at - INSTRUCTION_SIZE;
        if (value < 0) {
          // Imprecise far below -2^53, which only makes the bound hold more surely.
          if (-value > this.#budget - inlineTotal) {
            throw fail("Inline chunk exceeds the size of the stream", offset);
          }
          inlineLeft = -value;
          inlineTotal += inlineLeft;
        } else {
          if (value >= this.#refs) {
            throw fail("Splitstream external reference is out of range", offset);
          }
          // Real objects have content: more of them than bytes is a bomb.
          if (++externals > this.#externals) {
            throw fail("More external chunks than the stream has bytes", offset);
          }
          yield { type: "external", index: value };
        }
      }
      base += length;
    }
    if (wordUsed > 0) throw fail("Unexpected end of stream inside an instruction", base);
    if (inlineLeft > 0) {
      throw fail(`Unexpected end of stream: ${inlineLeft} inline bytes are missing`, base);
    }
  }
}

/**
 * Opens a splitstream: checks the header (of either layout), the ranges, the content type and the
 * references, in the reference's order (spec: repository 11). The file's fs-verity digest is the
 * caller's business.
 *
 * @param bytes the whole file; must not change as long as the result is used
 * @throws {FormatError} naming what is wrong
 */
export function openSplitstream(
  bytes: Uint8Array,
  options: OpenSplitstreamOptions,
): Splitstream {
  const { algorithm, codec } = options;
  const infoSection = readHeader(bytes, algorithm);
  if (infoSection.length < INFO_SIZE) {
    throw fail(`Splitstream info section has ${infoSection.length} bytes, not ${INFO_SIZE}`);
  }
  const infoAt = infoSection.byteOffset - bytes.byteOffset;
  const info = new Reader(infoSection, "splitstream", INFO.contentType[0]);
  const contentType = info.u64();
  const streamSize = info.u64();
  if (options.contentType !== undefined && options.contentType !== contentType) {
    throw fail("Invalid splitstream content type");
  }
  const streamRefs = refTable(rangeAt(bytes, infoAt + INFO.streamRefs[0]), algorithm.size);
  const objectRefs = refTable(rangeAt(bytes, infoAt + INFO.objectRefs[0]), algorithm.size);
  const named = namedRefs(rangeAt(bytes, infoAt + INFO.namedRefs[0]), streamRefs, codec);
  const stream = rangeAt(bytes, infoAt + INFO.stream[0]);
  return {
    contentType,
    streamSize,
    streamRefs,
    objectRefs,
    namedRefs: named,
    chunks: () => new ChunkReader(stream, codec, objectRefs.length, streamSize).read(),
  };
}
