/**
 * Whole deflate streams through libdeflate, which takes less time for them than zlib does. Loaded at
 * the first call; where it is missing, the runtime's zlib does the same.
 */
import type { NumberCalls } from "./libc.ts";
import { addressOf } from "./memory.ts";

const SYMBOLS = {
  // struct libdeflate_decompressor *libdeflate_alloc_decompressor(void)
  libdeflate_alloc_decompressor: { parameters: [], result: "usize" },
  // enum libdeflate_result libdeflate_deflate_decompress_ex(struct libdeflate_decompressor *d,
  //   const void *in, size_t in_nbytes, void *out, size_t out_nbytes_avail,
  //   size_t *actual_in_nbytes_ret, size_t *actual_out_nbytes_ret)
  libdeflate_deflate_decompress_ex: {
    parameters: ["usize", "usize", "usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
  // void libdeflate_free_decompressor(struct libdeflate_decompressor *d)
  libdeflate_free_decompressor: { parameters: ["usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

type Libdeflate = NumberCalls<typeof SYMBOLS>;

/** Result of what went well (`enum libdeflate_result`). */
const SUCCESS = 0;

/** Unpacks raw deflate streams that are whole in memory; `using` gives its memory back. */
export class WholeInflater implements Disposable {
  readonly #symbols: Libdeflate;
  #handle: number;
  /** Two sizes in native order: what was read, and what was made. */
  readonly #sizes = new BigUint64Array(16);
  readonly #sizesAt: number;

  private constructor(symbols: Libdeflate, handle: number) {
    this.#symbols = symbols;
    this.#handle = handle;
    this.#sizesAt = addressOf(new Uint8Array(this.#sizes.buffer));
  }

  /** A new one; `undefined` where libdeflate is missing. */
  static open(): WholeInflater | undefined {
    const symbols = libdeflate();
    const handle = symbols === undefined ? 0 : Number(symbols.libdeflate_alloc_decompressor());
    return handle === 0 ? undefined : new WholeInflater(symbols!, handle);
  }

  /**
   * Unpacks a stream; bytes after its end are ignored. Both buffers must be carved from buffers of
   * more than 64 bytes. It lets some damage pass that zlib refuses, so what is made has to be checked
   * against a digest.
   *
   * @returns bytes that were made; -1 when `output` is too small, or the stream damaged or cut off
   * @throws {TypeError} when its memory was given back
   */
  inflate(packed: Uint8Array, output: Uint8Array): number {
    if (this.#handle === 0) throw new TypeError("The inflater is closed");
    const to = addressOf(output);
    const result = this.#symbols.libdeflate_deflate_decompress_ex(
      this.#handle,
      addressOf(packed),
      packed.length,
      to,
      output.length,
      this.#sizesAt,
      this.#sizesAt + BigUint64Array.BYTES_PER_ELEMENT,
    );
    return result === SUCCESS ? Number(this.#sizes[1]) : -1;
  }

  /** Gives its memory back; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#handle !== 0) this.#symbols.libdeflate_free_decompressor(this.#handle);
    this.#handle = 0;
  }
}

let loaded: Libdeflate | null | undefined;

function libdeflate(): Libdeflate | undefined {
  if (loaded === undefined) {
    try {
      const { symbols } = Deno.dlopen("libdeflate.so.0", SYMBOLS);
      loaded = symbols as unknown as Libdeflate;
    } catch {
      // Not there, or no permission for it: there is a slower way.
      loaded = null;
    }
  }
  return loaded ?? undefined;
}
