import type { Algorithm, ObjectId, ZstdCodec, ZstdCompressor } from "../base/mod.ts";
import { HASH_SIZE, InvalidNameError, utf8ByteString, writeByteString } from "../base/mod.ts";
import { UnsupportedError } from "../base/mod.ts";
import { writeHex, ZSTD_PIECE, zstdPieces } from "../base/mod.ts";
import { HEADER, HEADER_SIZE, INFO, INFO_SIZE, INSTRUCTION_SIZE, MAGIC } from "./layout.ts";
import { LIMITS, VERSION } from "./layout.ts";

/** First size of the staging buffer; it grows only for long inline runs. */
const STAGE_FIRST = 1 << 18;
/** Beyond this an inline run is kept compressed until its length is known. */
const STAGE_MAX = 1 << 24;

/** What {@linkcode SplitstreamWriter} needs. */
export interface SplitstreamWriterOptions {
  /** The repository's algorithm. */
  readonly algorithm: Algorithm;
  /** Content type, one of {@linkcode CONTENT_TYPE} (spec: repository 10.5). */
  readonly contentType: bigint;
  /** Compressor of the sections. */
  readonly codec: ZstdCodec;
  /** Most bytes of the file, which is held in memory. @default 1 GiB */
  readonly limit?: number;
}

/**
 * Writes a splitstream, byte for byte as the reference does (spec: repository 10.4). Inline bytes
 * are compressed as they come, so memory stays bounded apart from the compressed result; a single
 * inline run above 16 MiB is held compressed, since its length stands before it.
 */
export class SplitstreamWriter implements Disposable {
  readonly #algorithm: Algorithm;
  readonly #contentType: bigint;
  readonly #codec: ZstdCodec;
  readonly #compressor: ZstdCompressor;
  readonly #limit: number;
  readonly #streamRefs = new Map<ObjectId, number>();
  readonly #objectRefs = new Map<ObjectId, number>();
  readonly #namedRefs = new Map<string, number>();
  #stage = new Uint8Array(STAGE_FIRST);
  #view = new DataView(this.#stage.buffer);
  #used = 0;
  /** Where the open inline chunk's instruction stands in the stage; -1 when none is open. */
  #chunkAt = -1;
  #spilled: Uint8Array[] = [];
  #spilledSize = 0;
  #spilledPacked = 0;
  #inlineSize = 0;
  #externalSize = 0;
  #externalCount = 0;
  #finished = false;

  /** Starts an empty stream. */
  constructor(options: SplitstreamWriterOptions) {
    this.#algorithm = options.algorithm;
    this.#contentType = options.contentType;
    this.#codec = options.codec;
    this.#compressor = options.codec.compressor();
    this.#limit = options.limit ?? LIMITS.file;
  }

  /** Inline bytes so far. */
  get inlineSize(): number {
    return this.#inlineSize;
  }

  /** Bytes of external objects so far, each occurrence counted. */
  get externalSize(): number {
    return this.#externalSize;
  }

  /** External chunks so far, each occurrence counted. */
  get externalCount(): number {
    return this.#externalCount;
  }

  /** Size of the reassembled stream so far, in bytes. */
  get streamSize(): number {
    return this.#inlineSize + this.#externalSize;
  }

  /** The different object references so far, in order of first use. */
  get objectRefs(): Iterable<ObjectId> {
    return this.#objectRefs.keys();
  }

  /**
   * Appends inline bytes; they are copied.
   *
   * @throws {UnsupportedError} for more of them than readers take
   */
  addInline(bytes: Uint8Array): void {
    const length = bytes.length;
    if (length === 0) return;
    this.#inlineSize += length;
    if (this.#inlineSize > LIMITS.inline) {
      throw new UnsupportedError(`More than ${LIMITS.inline} bytes that are no files`);
    }
    if (this.#chunkAt < 0) {
      if (this.#stage.length - this.#used < INSTRUCTION_SIZE) this.#flush(this.#used);
      this.#chunkAt = this.#used;
      this.#used += INSTRUCTION_SIZE;
    }
    let at = 0;
    while (at < length) {
      if (this.#used === this.#stage.length) this.#makeRoom();
      const count = Math.min(length - at, this.#stage.length - this.#used);
      this.#stage.set(
        at === 0 && count === length ? bytes : bytes.subarray(at, at + count),
        this.#used,
      );
      this.#used += count;
      at += count;
    }
  }

  /** Checks that what is held so far is not too much already. */
  #checkSize(size: number): void {
    if (size <= this.#limit) return;
    throw new UnsupportedError(
      `What is no files takes more than ${this.#limit} bytes, compressed`,
    );
  }

  /**
   * Appends the whole content of an object.
   *
   * @param size of the object's content, in bytes
   * @throws {UnsupportedError} for more objects than readers take
   */
  addExternal(id: ObjectId, size: number): void {
    this.#closeChunk();
    const index = this.#reference(this.#objectRefs, id);
    if (this.#stage.length - this.#used < INSTRUCTION_SIZE) this.#flush(this.#used);
    this.#writeInstruction(this.#used, index);
    this.#used += INSTRUCTION_SIZE;
    this.#externalSize += size;
    this.#externalCount += 1;
    if (this.#externalCount > LIMITS.externals) {
      throw new UnsupportedError(`More than ${LIMITS.externals} files in a stream`);
    }
  }

  /** Adds an object reference that need not appear in the stream; returns its index. */
  addObjectRef(id: ObjectId): number {
    return this.#reference(this.#objectRefs, id);
  }

  /**
   * Adds a reference to another stream or image; the same name again replaces.
   *
   * @throws {InvalidNameError} when the name holds a NUL character
   * @throws {UnsupportedError} for more names than readers take
   */
  addNamedRef(name: string, id: ObjectId): void {
    if (name.includes("\0")) {
      throw new InvalidNameError(`Reference name ${JSON.stringify(name)} holds a NUL character`);
    }
    this.#namedRefs.set(name, this.#reference(this.#streamRefs, id));
    if (this.#namedRefs.size > LIMITS.namedRefCount) {
      throw new UnsupportedError(`More than ${LIMITS.namedRefCount} named references in a stream`);
    }
  }

  /**
   * Ends the stream; the writer must not be used again.
   *
   * @returns the bytes of the file
   * @throws {UnsupportedError} when it would be larger than readers take
   */
  finish(): Uint8Array<ArrayBuffer> {
    this.#closeChunk();
    this.#flush(this.#used);
    this.#finished = true;
    const stream = this.#compressor.finish();
    const named = this.#codec.compress(this.#namedText());
    const streamRefs = HEADER_SIZE + INFO_SIZE;
    const objectRefs = streamRefs + this.#streamRefs.size * this.#algorithm.size;
    const namedRefs = objectRefs + this.#objectRefs.size * this.#algorithm.size;
    const streamAt = namedRefs + named.length;
    const end = streamAt + stream.reduce((sum, piece) => sum + piece.length, 0);
    this.#checkSize(end);

    const out = new Uint8Array(end);
    const view = new DataView(out.buffer);
    const range = (at: number, from: number, to: number) => {
      view.setBigUint64(at, BigInt(from), true);
      view.setBigUint64(at + INSTRUCTION_SIZE, BigInt(to), true);
    };
    writeByteString(MAGIC, out, HEADER.magic[0]);
    view.setUint8(HEADER.version[0], VERSION);
    view.setUint8(HEADER.algorithm[0], this.#algorithm.kernelId);
    view.setUint8(HEADER.lgBlockSize[0], this.#algorithm.lgBlockSize);
    range(HEADER.info[0], HEADER_SIZE, HEADER_SIZE + INFO_SIZE);
    range(HEADER_SIZE + INFO.streamRefs[0], streamRefs, objectRefs);
    range(HEADER_SIZE + INFO.objectRefs[0], objectRefs, namedRefs);
    range(HEADER_SIZE + INFO.namedRefs[0], namedRefs, streamAt);
    range(HEADER_SIZE + INFO.stream[0], streamAt, end);
    view.setBigUint64(HEADER_SIZE + INFO.contentType[0], this.#contentType, true);
    view.setBigUint64(HEADER_SIZE + INFO.streamSize[0], BigInt(this.streamSize), true);
    let at = streamRefs;
    for (const refs of [this.#streamRefs, this.#objectRefs]) {
      for (const id of refs.keys()) {
        writeHex(id, out, at);
        at += this.#algorithm.size;
      }
    }
    out.set(named, at);
    at += named.length;
    for (const piece of stream) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  /** Gives back the compressor's memory when the stream is not going to be finished. */
  [Symbol.dispose](): void {
    if (!this.#finished) this.#compressor[Symbol.dispose]();
    this.#finished = true;
  }

  #reference(refs: Map<ObjectId, number>, id: ObjectId): number {
    const known = refs.get(id);
    if (known !== undefined) return known;
    if (id.length !== HASH_SIZE[this.#algorithm.hash] * 2) {
      throw new RangeError(`Object id ${id} is not a ${this.#algorithm.hash} digest`);
    }
    const index = refs.size;
    refs.set(id, index);
    return index;
  }

  /** The named references as `<index>:<name>\0` records, sorted by the bytes of the name. */
  #namedText(): Uint8Array {
    const sorted = [...this.#namedRefs].map(([name, index]) => ({
      name: utf8ByteString(name),
      index,
    }));
    sorted.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
    const text = sorted.map(({ name, index }) => `${index}:${name}\0`).join("");
    const out = new Uint8Array(text.length);
    writeByteString(text, out, 0);
    return out;
  }

  #writeInstruction(at: number, value: number): void {
    const low = value % 2 ** 32;
    this.#view.setUint32(at, low, true);
    // Floor division keeps the two's complement of negative values.
    this.#view.setInt32(at + INSTRUCTION_SIZE / 2, Math.floor(value / 2 ** 32), true);
  }

  /** Compresses the first `count` bytes of the stage and moves the rest down. */
  #flush(count: number): void {
    if (count > 0) this.#compressor.push(this.#stage.subarray(0, count));
    this.#checkSize(this.#compressor.size);
    if (count < this.#used) this.#stage.copyWithin(0, count, this.#used);
    this.#used -= count;
  }

  /** Called when the stage is full inside an open chunk. */
  #makeRoom(): void {
    if (this.#chunkAt > 0) {
      this.#flush(this.#chunkAt);
      this.#chunkAt = 0;
    } else if (this.#stage.length < STAGE_MAX) {
      const grown = new Uint8Array(this.#stage.length * 2);
      grown.set(this.#stage);
      this.#stage = grown;
      this.#view = new DataView(grown.buffer);
    } else {
      // The length stands before the bytes and is not known yet, and it takes part in compression:
      // so the run waits in compressed form.
      for (let at = INSTRUCTION_SIZE; at < this.#used; at += ZSTD_PIECE) {
        const end = Math.min(at + ZSTD_PIECE, this.#used);
        const frame = this.#codec.compress(this.#stage.subarray(at, end));
        this.#spilled.push(frame);
        this.#spilledPacked += frame.length;
      }
      this.#checkSize(this.#compressor.size + this.#spilledPacked);
      this.#spilledSize += this.#used - INSTRUCTION_SIZE;
      this.#used = INSTRUCTION_SIZE;
    }
  }

  /** Ends the open inline chunk, now that its length is known. */
  #closeChunk(): void {
    const at = this.#chunkAt;
    if (at < 0) return;
    const length = this.#used - at - INSTRUCTION_SIZE + this.#spilledSize;
    this.#writeInstruction(at, -length);
    this.#chunkAt = -1;
    if (this.#spilledSize === 0) return;
    // A spilled chunk starts the stage.
    this.#compressor.push(this.#stage.subarray(0, INSTRUCTION_SIZE));
    for (const frame of this.#spilled) {
      for (const piece of zstdPieces(this.#codec, frame, { limit: ZSTD_PIECE })) {
        this.#compressor.push(piece);
      }
    }
    this.#spilled = [];
    this.#spilledSize = this.#spilledPacked = 0;
    this.#compressor.push(this.#stage.subarray(INSTRUCTION_SIZE, this.#used));
    this.#used = 0;
  }
}
