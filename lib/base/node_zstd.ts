import { builtin, type Builtins } from "./builtin.ts";
import { FormatError, UnsupportedError } from "./errors.ts";
import { SyncZlib } from "./sync_zlib.ts";
import type { ZstdCodec, ZstdCompressor, ZstdDecompressor } from "./zstd.ts";
import { ZSTD_EMPTY_FRAME, ZSTD_PIECE } from "./zstd.ts";

/** More compressed bytes than this in one stream are refused rather than held in memory. */
const MAX_COMPRESSED = 2 ** 31;
/**
 * Output buffer of the compressor. Must be above one block (128 KiB) plus headers: ending a frame
 * then never fills it, which is how the end is told from "more output is waiting".
 */
const COMPRESS_BUFFER = 1 << 18;
/** Everything at once up to this many compressed bytes when the synchronous stream is missing. */
const MAX_FALLBACK_PLAIN = 2 ** 30;
const CHUNK_SIZE = 64;

const NOTHING = new Uint8Array(0);

let loaded: Builtins["node:zlib"] | undefined;

/** node:zlib, loaded at the first use. */
function zlib(): Builtins["node:zlib"] {
  return loaded ??= builtin("node:zlib");
}

class StreamCompressor implements ZstdCompressor {
  readonly #stream: SyncZlib;
  readonly #output = new Uint8Array(COMPRESS_BUFFER);
  #pieces: Uint8Array[] = [];
  #size = 0;
  #touched = false;

  constructor(stream: SyncZlib) {
    this.#stream = stream;
  }

  get size(): number {
    return this.#size;
  }

  #run(flush: number, input: Uint8Array): void {
    for (let offset = 0;;) {
      const made = this.#stream.step(flush, input, offset, this.#output);
      if (made > 0) {
        this.#size += made;
        if (this.#size > MAX_COMPRESSED) {
          throw new UnsupportedError(`Compressed stream exceeds ${MAX_COMPRESSED} bytes`);
        }
        this.#pieces.push(this.#output.slice(0, made));
      }
      offset = input.length - this.#stream.inputLeft;
      if (made < this.#output.length && offset === input.length) return;
    }
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#touched = true;
    this.#run(zlib().constants.ZSTD_e_continue, bytes);
  }

  finish(): Uint8Array[] {
    if (this.#touched) this.#run(zlib().constants.ZSTD_e_end, NOTHING);
    else this.#pieces = [Uint8Array.from(ZSTD_EMPTY_FRAME)];
    this[Symbol.dispose]();
    return this.#pieces;
  }

  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
  }
}

/** Collects everything and compresses it in one call: right, but memory grows with the input. */
class WholeCompressor implements ZstdCompressor {
  readonly #pieces: Uint8Array[] = [];
  #plain = 0;

  get size(): number {
    return this.#plain;
  }

  push(bytes: Uint8Array): void {
    this.#plain += bytes.length;
    if (this.#plain > MAX_FALLBACK_PLAIN) {
      throw new UnsupportedError("Stream is too large to be compressed in one call");
    }
    if (bytes.length > 0) this.#pieces.push(bytes.slice());
  }

  finish(): Uint8Array[] {
    if (this.#plain === 0) return [Uint8Array.from(ZSTD_EMPTY_FRAME)];
    // A chunk above the size of the result keeps zlib from adding an empty frame.
    const chunkSize = this.#plain + Math.ceil(this.#plain / 128) + CHUNK_SIZE * 16;
    return [zlib().zstdCompressSync(concat(this.#pieces, this.#plain), { chunkSize })];
  }

  [Symbol.dispose](): void {
    this.#pieces.length = 0;
  }
}

class StreamDecompressor implements ZstdDecompressor {
  readonly #stream: SyncZlib;
  readonly #output = new Uint8Array(ZSTD_PIECE);

  constructor(stream: SyncZlib) {
    this.#stream = stream;
  }

  *frame(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
    for (let offset = 0;;) {
      const made = this.#stream.step(zlib().constants.ZSTD_e_continue, bytes, offset, this.#output);
      if (made > 0) yield this.#output.subarray(0, made);
      const next = bytes.length - this.#stream.inputLeft;
      if (made < this.#output.length) {
        if (next === bytes.length) return;
        if (next === offset && made === 0) throw new FormatError("zstd", "incomplete frame");
      }
      offset = next;
    }
  }

  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
  }
}

/** Decodes a frame in one call: bounded by an upper limit, not by the piece size. */
class WholeDecompressor implements ZstdDecompressor {
  *frame(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
    let plain: Uint8Array;
    try {
      plain = zlib().zstdDecompressSync(bytes, { maxOutputLength: MAX_FALLBACK_PLAIN });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new FormatError("zstd", message, { cause: error });
    }
    for (let at = 0; at < plain.length; at += ZSTD_PIECE) {
      yield plain.subarray(at, at + ZSTD_PIECE);
    }
  }

  [Symbol.dispose](): void {}
}

function concat(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const out = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** Options of {@linkcode createNodeZstd}. */
export interface NodeZstdOptions {
  /**
   * Use only the documented one-call functions, whose memory grows with the input.
   *
   * @default {false}
   */
  readonly documentedOnly?: boolean;
}

/**
 * The zstd codec of `node:zlib`. Steps the streams synchronously where the runtime allows it and
 * falls back to its one-call functions otherwise; the bytes are the same.
 */
export function createNodeZstd(options?: NodeZstdOptions): ZstdCodec {
  const whole = options?.documentedOnly === true;
  const codec: ZstdCodec = {
    implementation: "node:zlib",
    compressor(): ZstdCompressor {
      const stream = whole
        ? undefined
        : SyncZlib.open(zlib().createZstdCompress({ chunkSize: CHUNK_SIZE }), "zstd");
      return stream === undefined ? new WholeCompressor() : new StreamCompressor(stream);
    },
    decompressor(): ZstdDecompressor {
      const stream = whole
        ? undefined
        : SyncZlib.open(zlib().createZstdDecompress({ chunkSize: CHUNK_SIZE }), "zstd");
      return stream === undefined ? new WholeDecompressor() : new StreamDecompressor(stream);
    },
    compress(bytes: Uint8Array): Uint8Array {
      using compressor = codec.compressor();
      compressor.push(bytes);
      const pieces = compressor.finish();
      return concat(pieces, pieces.reduce((sum, piece) => sum + piece.length, 0));
    },
  };
  return codec;
}

/** Zstd by `node:zlib`. */
export const nodeZstd: ZstdCodec = createNodeZstd();
