/** Bytes of parts of static deltas, in memory or in files. */
import { FormatError } from "../base/mod.ts";
import { addressable, type Fd, preadFull } from "../../ffi/mod.ts";

/** Bytes that can be read anywhere. */
export interface PartBytes extends Disposable {
  /** How many there are. */
  readonly size: number;
  /**
   * Some of them, valid until the next call; the range is inside.
   *
   * @throws {FormatError} when fewer are there
   */
  get(at: number, size: number): Uint8Array;
}

/** Bytes that are read of a file at a time. */
const WINDOW = 256 * 1024;

/** Bytes in memory. */
export class BytesInMemory implements PartBytes {
  readonly size: number;
  readonly #bytes: Uint8Array;

  /** Takes the bytes, which must not change. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  get(at: number, size: number): Uint8Array {
    return this.#bytes.subarray(at, at + size);
  }

  [Symbol.dispose](): void {}
}

/** Bytes of an open file from a place on; memory does not depend on how many they are. */
export class BytesInFile implements PartBytes {
  readonly size: number;
  readonly #fd: Fd;
  readonly #start: number;
  readonly #window = addressable(WINDOW);
  #at = 0;
  #length = 0;

  /** Takes the file, which is closed with this. */
  constructor(fd: Fd, range: { start: number; size: number }) {
    this.#fd = fd;
    this.#start = range.start;
    this.size = range.size;
  }

  get(at: number, size: number): Uint8Array {
    if (size > WINDOW) return this.#read(addressable(size), at);
    if (at < this.#at || at + size > this.#at + this.#length) {
      const length = Math.min(WINDOW, this.size - at);
      this.#length = 0;
      this.#read(this.#window.subarray(0, length), at);
      this.#at = at;
      this.#length = length;
    }
    return this.#window.subarray(at - this.#at, at - this.#at + size);
  }

  #read(into: Uint8Array, at: number): Uint8Array {
    if (preadFull(this.#fd, into, this.#start + at) === into.length) return into;
    throw new FormatError("ostree delta", "part is cut off");
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

/** A range of other bytes, which must stay open. */
export class BytesWithin implements PartBytes {
  readonly size: number;
  readonly #bytes: PartBytes;
  readonly #start: number;

  /** Takes the range, which is inside. */
  constructor(bytes: PartBytes, range: { start: number; size: number }) {
    this.#bytes = bytes;
    this.#start = range.start;
    this.size = range.size;
  }

  get(at: number, size: number): Uint8Array {
    return this.#bytes.get(this.#start + at, size);
  }

  [Symbol.dispose](): void {}
}

/** All bytes in order, in pieces that are valid until the next one is asked for. */
export function* piecesOf(bytes: PartBytes): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.size; at += WINDOW) {
    yield bytes.get(at, Math.min(WINDOW, bytes.size - at));
  }
}
