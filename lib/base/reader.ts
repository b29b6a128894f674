import { FormatError } from "./errors.ts";

/** Numbers above this cannot be offsets or sizes in this program (2^53 - 1). */
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Turns a u64 into a `number`.
 *
 * @throws {FormatError} above 2^53 - 1
 */
export function safeNumber(value: bigint, format: string, what: string): number {
  if (value < 0n || value > MAX_SAFE) {
    throw new FormatError(format, `${what} ${value} is out of range`);
  }
  return Number(value);
}

/**
 * A little-endian cursor over `bytes[start, end)` that never reads past its end. Views it returns
 * share memory with the input and are valid as long as the input is not changed.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #format: string;
  readonly #end: number;
  #position: number;

  /** Creates a cursor; `format` is named in errors. */
  constructor(bytes: Uint8Array, format: string, start = 0, end: number = bytes.length) {
    if (start < 0 || end < start || end > bytes.length) {
      throw new FormatError(format, `Range ${start}..${end} is outside the data`, {
        offset: start,
      });
    }
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#format = format;
    this.#end = end;
    this.#position = start;
  }

  /** Absolute position in the underlying bytes. */
  get position(): number {
    return this.#position;
  }

  /** Bytes left. */
  get remaining(): number {
    return this.#end - this.#position;
  }

  /** Checks that `length` bytes are left and moves past them; returns where they start. */
  #take(length: number): number {
    if (length < 0 || length > this.#end - this.#position) {
      throw new FormatError(
        this.#format,
        `Unexpected end of data: ${length} bytes wanted, ${this.remaining} left`,
        { offset: this.#position },
      );
    }
    const at = this.#position;
    this.#position = at + length;
    return at;
  }

  /** Next byte. */
  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  /** Next 16-bit number. */
  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  /** Next 32-bit number. */
  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** Next 64-bit number, unsigned. */
  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** Next 64-bit number, signed. */
  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  /** Next 64-bit offset or size as a `number`; `what` is named when it is above 2^53 - 1. */
  size(what: string): number {
    return safeNumber(this.u64(), this.#format, what);
  }

  /** Next `length` bytes as a view. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Moves past `length` bytes. */
  skip(length: number): void {
    this.#take(length);
  }

  /** A narrower cursor over the next `length` bytes; this one moves past them. */
  section(length: number): Reader {
    const at = this.#take(length);
    return new Reader(this.#bytes, this.#format, at, at + length);
  }

  /** Checks that `count` entries of `size` bytes can be there, before anything is allocated. */
  checkCount(count: number, size: number): void {
    if (count > this.remaining / size) {
      throw new FormatError(
        this.#format,
        `${count} entries of ${size} bytes do not fit in ${this.remaining} bytes`,
        { offset: this.#position },
      );
    }
  }

  /** Checks that everything was read. */
  finish(): void {
    if (this.remaining !== 0) {
      throw new FormatError(this.#format, `${this.remaining} bytes left over`, {
        offset: this.#position,
      });
    }
  }
}
