/**
 * Growing columns of numbers and digests: a table of contents can have millions of entries, which
 * are kept as columns that workers can be sent without copying.
 *
 * @module
 */
import { DIGEST_SIZE } from "./layout.ts";

const FIRST = 256;

/** A column of numbers up to 2^53 - 1. */
export class NumberColumn {
  #values = new Float64Array(FIRST);
  #length = 0;

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** Adds one. */
  push(value: number): void {
    if (this.#length === this.#values.length) {
      const grown = new Float64Array(this.#length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#length++] = value;
  }

  /** The values, in memory of their own. */
  finish(): Float64Array<ArrayBuffer> {
    return this.#values.slice(0, this.#length);
  }
}

/** A column of raw sha256 digests. */
export class DigestColumn {
  #bytes = new Uint8Array(FIRST * DIGEST_SIZE);
  #used = 0;

  /** Adds a place, filled with zeros, and returns where in the bytes it is. */
  add(): number {
    if (this.#used === this.#bytes.length) {
      const grown = new Uint8Array(this.#used * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    const at = this.#used;
    this.#used += DIGEST_SIZE;
    return at;
  }

  /** All bytes; valid until the next digest is added. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** The digests one after the other, in memory of their own. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#used);
  }
}
