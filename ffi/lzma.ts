/** xz through liblzma: whole buffers, and streams of any size. Loaded at the first call; some lack it. */
import { FormatError } from "../lib/base/mod.ts";
import type { NumberCalls } from "./libc.ts";
import { addressable, addressOf } from "./memory.ts";

const SYMBOLS = {
  // lzma_ret lzma_stream_buffer_decode(uint64_t *memlimit, uint32_t flags, allocator *, const
  //   uint8_t *in, size_t *in_pos, size_t in_size, uint8_t *out, size_t *out_pos, size_t out_size)
  lzma_stream_buffer_decode: {
    parameters: [
      ...["usize", "u32", "usize"] as const,
      ...["usize", "usize", "usize"] as const,
      ...["usize", "usize", "usize"] as const,
    ],
    result: "u32",
  },
  // lzma_ret lzma_easy_buffer_encode(uint32_t preset, lzma_check check, allocator *, const uint8_t
  //   *in, size_t in_size, uint8_t *out, size_t *out_pos, size_t out_size)
  lzma_easy_buffer_encode: {
    parameters: [
      ...["u32", "u32", "usize"] as const,
      ...["usize", "usize"] as const,
      ...["usize", "usize", "usize"] as const,
    ],
    result: "u32",
  },
  // lzma_ret lzma_stream_decoder(lzma_stream *strm, uint64_t memlimit, uint32_t flags)
  lzma_stream_decoder: { parameters: ["usize", "u64", "u32"], result: "u32" },
  // lzma_ret lzma_code(lzma_stream *strm, lzma_action action)
  lzma_code: { parameters: ["usize", "u32"], result: "u32" },
  // void lzma_end(lzma_stream *strm)
  lzma_end: { parameters: ["usize"], result: "void" },
  // size_t lzma_stream_buffer_bound(size_t uncompressed_size)
  lzma_stream_buffer_bound: { parameters: ["usize"], result: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Results (lzma/base.h). */
const LZMA = { OK: 0, STREAM_END: 1, MEM: 5, MEMLIMIT: 6, BUF: 10 } as const;
/** What lzma_code() is asked to do (lzma/base.h). */
const ACTION = { RUN: 0, FINISH: 3 } as const;
/** lzma_stream (lzma/base.h), as far as it is used; all of it begins as zeros. */
const STREAM = {
  nextIn: [0, "u64"],
  availIn: [8, "u64"],
  nextOut: [24, "u64"],
  availOut: [32, "u64"],
} as const;
const STREAM_SIZE = 136;
/** Size of the pieces that come out of a stream. */
const PIECE = 1 << 18;
/** Checks of the content (lzma/check.h). */
const CHECK_CRC64 = 4;
/** What the calls read and write through pointers. */
const WORDS = { memlimit: [0, "u64"], inPos: [8, "u64"], outPos: [16, "u64"] } as const;
/** The end of a container (xz file format 2.1.2). */
const FOOTER = { crc32: [0, "u32"], backwardSize: [4, "u32"], flags: [8, "u16"] } as const;
const FOOTER_SIZE = 12;
/** Memory that decompressing may take, besides the result. */
const MEMORY_LIMIT = 256n * 1024n * 1024n;
const FORMAT = "xz";

/** Compressing and decompressing xz; buffers of results are new ones. */
export class Lzma {
  readonly #symbols: NumberCalls<typeof SYMBOLS>;
  readonly #words = addressable(64);
  readonly #view = new DataView(this.#words.buffer, this.#words.byteOffset);

  /** Uses a loaded library; see {@linkcode lzma}. */
  constructor(symbols: NumberCalls<typeof SYMBOLS>) {
    this.#symbols = symbols;
  }

  /**
   * The size that a container announces, which may be a lie.
   *
   * @throws {FormatError} when it is cut off
   */
  announcedSize(data: Uint8Array): number {
    return announcedSize(data);
  }

  /**
   * Decompresses a container of one stream, which must end where `data` ends.
   *
   * @param limit largest result in bytes
   * @throws {FormatError} when it is malformed, cut off, larger, or needs too much memory
   */
  decompress(data: Uint8Array, limit: number): Uint8Array {
    const source = inPlace(data);
    const size = announcedSize(source);
    if (size > limit) throw new FormatError(FORMAT, `${size} bytes, more than ${limit} bytes`);
    const out = addressable(size);
    this.#view.setBigUint64(WORDS.memlimit[0], MEMORY_LIMIT, true);
    this.#view.setBigUint64(WORDS.inPos[0], 0n, true);
    this.#view.setBigUint64(WORDS.outPos[0], 0n, true);
    const words = addressOf(this.#words);
    const result = this.#symbols.lzma_stream_buffer_decode(
      ...[words + WORDS.memlimit[0], 0, 0] as const,
      ...[addressOf(source), words + WORDS.inPos[0], source.length] as const,
      ...[addressOf(out), words + WORDS.outPos[0], size] as const,
    );
    if (result === LZMA.MEM || result === LZMA.MEMLIMIT) {
      throw tooMuchMemory();
    }
    if (
      result !== LZMA.OK ||
      this.#view.getBigUint64(WORDS.inPos[0], true) !== BigInt(source.length)
    ) throw damaged();
    return out.subarray(0, Number(this.#view.getBigUint64(WORDS.outPos[0], true)));
  }

  /**
   * Decompresses a container of one stream that comes in pieces, which must end where they end; the
   * pieces that come out are valid until the next one is asked for.
   *
   * @param limit largest result in bytes
   * @throws {FormatError} when it is malformed, cut off, larger, or needs too much memory
   */
  *decompressPieces(
    pieces: Iterable<Uint8Array>,
    limit: number,
  ): Generator<Uint8Array, void, undefined> {
    // The library keeps the address of this structure and checks that it stays the same.
    const stream = addressable(STREAM_SIZE);
    const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
    const out = addressable(PIECE);
    let made = 0;
    let ended = false;
    const step = (action: number): Uint8Array => {
      view.setBigUint64(STREAM.nextOut[0], BigInt(addressOf(out)), true);
      view.setBigUint64(STREAM.availOut[0], BigInt(PIECE), true);
      const result = this.#symbols.lzma_code(addressOf(stream), action);
      if (result === LZMA.MEM || result === LZMA.MEMLIMIT) throw tooMuchMemory();
      if (result === LZMA.STREAM_END) ended = true;
      else if (result !== LZMA.OK && result !== LZMA.BUF) throw damaged();
      const size = PIECE - Number(view.getBigUint64(STREAM.availOut[0], true));
      made += size;
      if (made > limit) throw new FormatError(FORMAT, `more than ${limit} bytes`);
      return out.subarray(0, size);
    };
    const left = () => Number(view.getBigUint64(STREAM.availIn[0], true));
    if (this.#symbols.lzma_stream_decoder(addressOf(stream), Number(MEMORY_LIMIT), 0) !== LZMA.OK) {
      throw tooMuchMemory();
    }
    try {
      for (const piece of pieces) {
        if (piece.length === 0) continue;
        const source = inPlace(piece);
        view.setBigUint64(STREAM.nextIn[0], BigInt(addressOf(source)), true);
        view.setBigUint64(STREAM.availIn[0], BigInt(source.length), true);
        for (let full = false; left() > 0 || (full && !ended);) {
          if (ended) throw damaged(); // something follows
          const before = left();
          const bytes = step(ACTION.RUN);
          full = bytes.length === PIECE;
          if (bytes.length > 0) yield bytes;
          else if (before > 0 && left() === before) throw damaged();
        }
      }
      while (!ended) {
        const bytes = step(ACTION.FINISH);
        if (bytes.length === 0 && !ended) throw damaged();
        if (bytes.length > 0) yield bytes;
      }
    } finally {
      this.#symbols.lzma_end(addressOf(stream));
    }
  }

  /**
   * Compresses into a container.
   *
   * @param preset 0 (fast) to 9 (small)
   */
  compress(data: Uint8Array, preset = 6): Uint8Array {
    const source = inPlace(data);
    const size = Number(this.#symbols.lzma_stream_buffer_bound(source.length));
    const out = addressable(size);
    this.#view.setBigUint64(WORDS.outPos[0], 0n, true);
    const result = this.#symbols.lzma_easy_buffer_encode(
      ...[preset, CHECK_CRC64, 0] as const,
      ...[addressOf(source), source.length] as const,
      ...[addressOf(out), addressOf(this.#words) + WORDS.outPos[0], size] as const,
    );
    if (result !== LZMA.OK) throw new Error(`lzma_easy_buffer_encode failed: ${result}`);
    return out.subarray(0, Number(this.#view.getBigUint64(WORDS.outPos[0], true)));
  }
}

function tooMuchMemory(): FormatError {
  return new FormatError(FORMAT, "Decompressing xz failed: too much memory needed");
}

function damaged(): FormatError {
  return new FormatError(FORMAT, "Decompressing xz failed: damaged or cut off");
}

/**
 * The size that the index at the end of a container announces, so that the result has room from the
 * start: liblzma does not tell data that is cut off from a buffer that is too small.
 */
function announcedSize(data: Uint8Array): number {
  const end = data.length - FOOTER_SIZE;
  if (end < 0) throw damaged();
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const start = end - (view.getUint32(end + FOOTER.backwardSize[0], true) + 1) * 4;
  if (start < 0 || data[start] !== 0) throw damaged();
  let at = start + 1;
  const number = (): number => {
    let value = 0;
    for (let scale = 1; at < end && scale <= 2 ** 49; scale *= 0x80) {
      const byte = data[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw damaged();
  };
  let size = 0;
  for (let blocks = number(); blocks > 0; blocks--) {
    number(); // of the block as it is stored
    size += number();
  }
  return size;
}

/** Bytes whose address can be taken: small ones are copied. */
function inPlace(data: Uint8Array): Uint8Array {
  if (data.buffer.byteLength > 64) return data;
  const out = addressable(data.length);
  out.set(data);
  return out;
}

let loaded: Lzma | null | undefined;

/** liblzma, or `undefined` where it is missing; decided at the first call. */
export function lzma(): Lzma | undefined {
  if (loaded === undefined) {
    try {
      const { symbols } = Deno.dlopen("liblzma.so.5", SYMBOLS);
      loaded = new Lzma(symbols as unknown as NumberCalls<typeof SYMBOLS>);
    } catch {
      // Not there, or no permission for it: there is a slower way to decompress.
      loaded = null;
    }
  }
  return loaded ?? undefined;
}
