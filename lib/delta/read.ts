import { type ByteString, FormatError, toByteString } from "../base/mod.ts";
import { TAR_DIFF_LIMITS, TAR_DIFF_OP, type TarDiffOp } from "./layout.ts";

/** What {@linkcode TarDiffReader.next} found. */
export type TarDiffStep = TarDiffOp | "more";

const NOTHING = new Uint8Array(0);
/** Highest bit of a byte of a number: another one follows. */
const MORE = 0x80;
const PER_BYTE = 7;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Where the reader is. */
const AT_OPERATION = 0;
const IN_NUMBER = 1;
const IN_BYTES = 2;
const IN_PATH = 3;

function fail(message: string): FormatError {
  return new FormatError("tar-diff", message);
}

/**
 * Reads the operations of a tar-diff (spec: oci 7.2) from its plain text, which comes in pieces of
 * any size. Steps are told through fields, so that nothing is allocated for an operation.
 */
export class TarDiffReader {
  /** Number of the current operation; exact up to 2^53. */
  n = 0;
  /** Bytes that the current step brings, for DATA and ADD; valid until the next {@linkcode feed}. */
  bytes: Uint8Array = NOTHING;
  /** Whether the step begins its operation; DATA and ADD can take several steps. */
  first = false;
  /** Path of the current OPEN. */
  path: ByteString = "";
  /** Operations so far. */
  operations = 0;
  #piece: Uint8Array = NOTHING;
  #at = 0;
  #state = AT_OPERATION;
  #op: TarDiffOp = TAR_DIFF_OP.data;
  #digits = 0;
  #scale = 1;
  /** Bytes of the operation that are still to come. */
  #left = 0;
  #empty = 0;
  #path = new Uint8Array(TAR_DIFF_LIMITS.path);

  /** Gives the next piece; the one before it must be used up, which `"more"` says. */
  feed(piece: Uint8Array): void {
    this.#piece = piece;
    this.#at = 0;
  }

  /**
   * The next step: an operation, the next bytes of one, or `"more"` when the piece is used up.
   *
   * @throws {FormatError} with the reference's words; the reader must not be used afterwards
   */
  next(): TarDiffStep {
    const piece = this.#piece;
    while (this.#at < piece.length) {
      switch (this.#state) {
        case AT_OPERATION: {
          const op = piece[this.#at++]!;
          if (op > TAR_DIFF_OP.seek) throw fail(`Unexpected tar-diff op ${op}`);
          this.#op = op as TarDiffOp;
          this.n = 0;
          this.#digits = 0;
          this.#scale = 1;
          this.#state = IN_NUMBER;
          break;
        }
        case IN_NUMBER:
          if (this.#number(piece[this.#at++]!) && this.#begin()) return this.#op;
          break;
        case IN_BYTES: {
          const end = Math.min(piece.length, this.#at + this.#left);
          this.bytes = piece.subarray(this.#at, end);
          this.first = this.#left === this.n;
          this.#left -= end - this.#at;
          this.#at = end;
          if (this.#left === 0) this.#state = AT_OPERATION;
          return this.#op;
        }
        default: {
          const end = Math.min(piece.length, this.#at + this.#left);
          this.#path.set(piece.subarray(this.#at, end), this.n - this.#left);
          this.#left -= end - this.#at;
          this.#at = end;
          if (this.#left > 0) break;
          this.#endPath();
          return this.#op;
        }
      }
    }
    return "more";
  }

  /** Adds a byte to the number; true when it was the last one. */
  #number(byte: number): boolean {
    this.#digits++;
    // Nine bytes hold 63 bits, so of the tenth only the lowest bit is left.
    if (this.#digits === TAR_DIFF_LIMITS.number && byte > 1) throw fail("uvarint overflow");
    this.n += (byte % MORE) * this.#scale;
    this.#scale *= 2 ** PER_BYTE;
    return byte < MORE;
  }

  /** Begins an operation whose number is known; true when that is all of it. */
  #begin(): boolean {
    const { n } = this;
    this.operations++;
    this.first = true;
    this.bytes = NOTHING;
    this.#state = AT_OPERATION;
    if (n === 0 && this.#op !== TAR_DIFF_OP.seek && this.#op !== TAR_DIFF_OP.open) {
      if (++this.#empty > TAR_DIFF_LIMITS.emptyOperations) {
        throw fail(`More than ${TAR_DIFF_LIMITS.emptyOperations} operations do nothing`);
      }
      return true;
    }
    this.#left = n;
    switch (this.#op) {
      case TAR_DIFF_OP.data:
        this.#state = IN_BYTES;
        return false;
      case TAR_DIFF_OP.add:
        if (n > TAR_DIFF_LIMITS.add) throw fail(`AddData size ${n} exceeds limit`);
        this.#state = IN_BYTES;
        return false;
      case TAR_DIFF_OP.open:
        if (n > TAR_DIFF_LIMITS.path) throw fail(`Filename size ${n} exceeds limit`);
        if (n === 0) {
          this.path = "";
          return true;
        }
        this.#state = IN_PATH;
        return false;
      default:
        return true;
    }
  }

  #endPath(): void {
    const bytes = this.#path.subarray(0, this.n);
    try {
      utf8.decode(bytes);
    } catch {
      // What the decoder says adds nothing.
      throw fail("Invalid UTF-8 in tar-diff filename");
    }
    this.path = toByteString(bytes);
    this.#state = AT_OPERATION;
  }

  /**
   * Ends the stream, which it may only do between two operations.
   *
   * @throws {FormatError} for an operation that is cut off
   */
  finish(): void {
    switch (this.#state) {
      case AT_OPERATION:
        return;
      case IN_BYTES:
        if (this.#op === TAR_DIFF_OP.data) {
          throw fail(`Short OP_DATA: expected ${this.n}, got ${this.n - this.#left}`);
        }
        throw fail(`Short OP_ADDDATA: expected ${this.n}, got ${this.n - this.#left}`);
      default:
        throw fail("Unexpected end of file in a tar-diff operation");
    }
  }
}
