import { FormatError } from "./errors.ts";

/**
 * The synchronous step of a zlib stream object: both Deno and Node have it, and widely used packages
 * rely on it, but it is not in their documentation; so it is looked for before it is used.
 */
interface ZlibHandle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number,
  ): void;
  close(): void;
  reset?(): void;
  onerror?: (message: string) => void;
}

/** A zlib stream as this file uses it. */
interface ZlibStream {
  readonly _handle?: ZlibHandle | null;
  /** Left after a step: output bytes, input bytes. */
  readonly _writeState?: Uint32Array;
}

/** One zlib stream stepped synchronously, into buffers of the caller. */
export class SyncZlib implements Disposable {
  readonly #handle: ZlibHandle;
  readonly #left: Uint32Array;
  readonly #format: string;
  #error: string | undefined;
  #open = true;

  private constructor(handle: ZlibHandle, left: Uint32Array, format: string) {
    this.#handle = handle;
    this.#left = left;
    this.#format = format;
    // Node reports faults here, Deno throws them: both end in `step`.
    handle.onerror = (message) => {
      this.#error = message;
    };
  }

  /**
   * Takes over the handle of a fresh stream; `undefined` when this runtime has none.
   *
   * @param format named in errors
   */
  static open(stream: unknown, format: string): SyncZlib | undefined {
    const { _handle: handle, _writeState: left } = stream as ZlibStream;
    if (!handle || typeof handle.writeSync !== "function" || !(left instanceof Uint32Array)) {
      return undefined;
    }
    return new SyncZlib(handle, left, format);
  }

  /** Input bytes that the last step left over. */
  get inputLeft(): number {
    return this.#left[1]!;
  }

  /** Starts with a new stream, which costs less than a new handle. */
  reset(): void {
    if (this.#handle.reset === undefined) throw new TypeError("Stream cannot be reset");
    this.#handle.reset();
    this.#error = undefined;
  }

  /** Whether {@linkcode SyncZlib.reset} can be called. */
  get resettable(): boolean {
    return typeof this.#handle.reset === "function";
  }

  /**
   * One step; returns the number of output bytes.
   *
   * @throws {FormatError} for input that does not follow its format
   */
  step(flush: number, input: Uint8Array, offset: number, output: Uint8Array): number {
    try {
      const length = input.length - offset;
      this.#handle.writeSync(flush, input, offset, length, output, 0, output.length);
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
    }
    if (this.#error !== undefined) {
      const message = this.#error.replace(/^Zstd (?:de)?compress error: /, "");
      throw new FormatError(this.#format, message);
    }
    return output.length - this.#left[0]!;
  }

  /** Gives the handle back. */
  [Symbol.dispose](): void {
    if (this.#open) this.#handle.close();
    this.#open = false;
  }
}
