import { type ByteString, writeByteString } from "../base/mod.ts";
import { TAR_DIFF_OP } from "./layout.ts";

/** Most bytes of one DATA or ADD: what readers have to hold at a time (spec: oci 7.6). */
const OPERATION_LIMIT = 2 ** 20;
const OUT_SIZE = 256 * 1024;
/** An operation's code and number. */
const HEAD_LIMIT = 11;
const PER_BYTE = 128;

/** Which bytes wait, so that what follows can join them. */
type Pending = "nothing" | "data" | "add" | "copy";

/**
 * Writes the operations of a tar-diff (spec: oci 7.2), as few as possible: what follows on in the
 * same file joins, empty operations and seeks to where one is already are left out, and an ADD of
 * nothing but zeros becomes a COPY.
 */
export class TarDiffWriter {
  readonly #sink: (piece: Uint8Array<ArrayBuffer>) => void;
  #out = new Uint8Array(OUT_SIZE);
  #used = 0;
  #file: ByteString | undefined;
  #position = 0;
  #pending: Pending = "nothing";
  /** DATA or ADD bytes that wait. */
  readonly #bytes = new Uint8Array(OPERATION_LIMIT);
  /** How many bytes wait; for COPY how many it is for. */
  #count = 0;
  /** File and place that a waiting ADD or COPY is about. */
  #source: ByteString = "";
  #sourceAt = 0;

  /**
   * Starts without a current file.
   *
   * @param sink given the operations' plain text in pieces, which it owns
   */
  constructor(sink: (piece: Uint8Array<ArrayBuffer>) => void) {
    this.#sink = sink;
  }

  /** Literal bytes come next in the output. */
  data(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#pending !== "data") this.#flush("data");
    this.#collect(bytes, () => this.#flush("data"));
  }

  /**
   * Bytes of a file of the old image come next.
   *
   * @param path as the applier opens it
   * @param position where they start, in bytes
   */
  copy(path: ByteString, position: number, length: number): void {
    if (length === 0) return;
    if (this.#pending !== "copy" || !this.#follows(path, position)) {
      this.#flush("copy");
      this.#source = path;
      this.#sourceAt = position;
    }
    this.#count += length;
  }

  /**
   * Bytes of a file of the old image come next, to each of which something is added.
   *
   * @param difference new minus old, modulo 256
   */
  add(path: ByteString, position: number, difference: Uint8Array): void {
    if (difference.length === 0) return;
    if (difference.every((byte) => byte === 0)) return this.copy(path, position, difference.length);
    if (this.#pending !== "add" || !this.#follows(path, position)) this.#beginAdd(path, position);
    this.#collect(difference, () => this.#beginAdd(path, this.#sourceAt + this.#count));
  }

  /** Ends the operations; nothing may follow. */
  finish(): void {
    this.#flush("nothing");
    this.#emit();
  }

  #beginAdd(path: ByteString, position: number): void {
    this.#flush("add");
    this.#source = path;
    this.#sourceAt = position;
  }

  #follows(path: ByteString, position: number): boolean {
    return path === this.#source && position === this.#sourceAt + this.#count;
  }

  #collect(bytes: Uint8Array, full: () => void): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#count === OPERATION_LIMIT) full();
      const count = Math.min(OPERATION_LIMIT - this.#count, bytes.length - at);
      this.#bytes.set(bytes.subarray(at, at + count), this.#count);
      this.#count += count;
      at += count;
    }
  }

  /** Writes what waits; bytes of the given kind wait from now on. */
  #flush(next: Pending): void {
    const count = this.#count;
    if (count > 0) {
      if (this.#pending === "data") this.#head(TAR_DIFF_OP.data, count);
      else {
        this.#goTo(this.#source, this.#sourceAt);
        this.#head(this.#pending === "add" ? TAR_DIFF_OP.add : TAR_DIFF_OP.copy, count);
        this.#position += count;
      }
      if (this.#pending !== "copy") this.#write(this.#bytes.subarray(0, count));
    }
    this.#count = 0;
    this.#pending = next;
  }

  #goTo(path: ByteString, position: number): void {
    if (path !== this.#file) {
      this.#head(TAR_DIFF_OP.open, path.length);
      const bytes = new Uint8Array(path.length);
      writeByteString(path, bytes, 0);
      this.#write(bytes);
      this.#file = path;
      this.#position = 0;
    }
    if (position !== this.#position) this.#head(TAR_DIFF_OP.seek, position);
    this.#position = position;
  }

  #head(op: number, n: number): void {
    if (OUT_SIZE - this.#used < HEAD_LIMIT) this.#emit();
    this.#out[this.#used++] = op;
    for (; n >= PER_BYTE; n = Math.floor(n / PER_BYTE)) {
      this.#out[this.#used++] = PER_BYTE + n % PER_BYTE;
    }
    this.#out[this.#used++] = n;
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#used === OUT_SIZE) this.#emit();
      const count = Math.min(OUT_SIZE - this.#used, bytes.length - at);
      this.#out.set(bytes.subarray(at, at + count), this.#used);
      this.#used += count;
      at += count;
    }
  }

  #emit(): void {
    if (this.#used > 0) this.#sink(this.#out.slice(0, this.#used));
    this.#used = 0;
  }
}
