/** xz through liblzma, in one call each way. Loaded at the first call; some systems lack it. */
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
  // size_t lzma_stream_buffer_bound(size_t uncompressed_size)
  lzma_stream_buffer_bound: { parameters: ["usize"], result: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Results (lzma/base.h). */
const LZMA = { OK: 0, MEM: 5, MEMLIMIT: 6 } as const;
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
      throw new FormatError(FORMAT, "Decompressing xz failed: too much memory needed");
    }
    if (
      result !== LZMA.OK ||
      this.#view.getBigUint64(WORDS.inPos[0], true) !== BigInt(source.length)
    ) throw damaged();
    return out.subarray(0, Number(this.#view.getBigUint64(WORDS.outPos[0], true)));
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
