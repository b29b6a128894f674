import { HASH_SIZE, type HashName, type ObjectId } from "../base/mod.ts";

/**
 * Digests as raw bytes in one growing buffer: an image names as many as it has files, so there is
 * no object for each until the end.
 */
export class DigestList {
  /** Size of a digest in bytes. */
  readonly size: number;
  #bytes: Uint8Array<ArrayBuffer>;
  #count = 0;

  /** Creates an empty list. */
  constructor(hash: HashName) {
    this.size = HASH_SIZE[hash];
    this.#bytes = new Uint8Array(this.size * 256);
  }

  /** Room for one more digest, valid until the next call; {@linkcode DigestList.commit} keeps it. */
  room(): { readonly bytes: Uint8Array; readonly offset: number } {
    const offset = this.#count * this.size;
    if (offset === this.#bytes.length) {
      const bigger = new Uint8Array(offset * 2);
      bigger.set(this.#bytes);
      this.#bytes = bigger;
    }
    return { bytes: this.#bytes, offset };
  }

  /** Keeps what was written to the room. */
  commit(): void {
    this.#count++;
  }

  /** Adds a digest. */
  add(digest: Uint8Array): void {
    const { bytes, offset } = this.room();
    bytes.set(digest, offset);
    this.#count++;
  }

  /** The different digests in byte order, in hex. */
  sortedUnique(): ObjectId[] {
    const size = this.size;
    const bytes = this.#bytes;
    const order = this.#order();
    const kept = new Uint8Array(this.#count * size);
    let end = 0;
    for (const index of order) {
      const from = index * size;
      if (end > 0 && compare(bytes, from, { bytes: kept, offset: end - size, size }) === 0) {
        continue;
      }
      kept.set(bytes.subarray(from, from + size), end);
      end += size;
    }
    // One conversion for all: a call for each digest costs several times more.
    const hex = kept.subarray(0, end).toHex();
    const ids: ObjectId[] = [];
    for (let i = 0; i < end; i += size) ids.push(hex.slice(2 * i, 2 * (i + size)) as ObjectId);
    return ids;
  }

  /** The indices of the digests in byte order. */
  #order(): Uint32Array {
    const size = this.size;
    const bytes = this.#bytes;
    const view = new DataView(bytes.buffer);
    // The first four bytes above the index, as one number each: they are sorted natively, and
    // written and read as halves (the host is little-endian), without a big integer for each.
    const keys = new BigUint64Array(this.#count);
    const halves = new Uint32Array(keys.buffer);
    for (let i = 0; i < this.#count; i++) {
      halves[2 * i] = i;
      halves[2 * i + 1] = view.getUint32(i * size);
    }
    keys.sort();
    const order = new Uint32Array(this.#count);
    for (let i = 0; i < order.length; i++) order[i] = halves[2 * i]!;
    // Few digests share their first four bytes, unless they are the same.
    for (let start = 0; start < order.length;) {
      let end = start + 1;
      const prefix = halves[2 * start + 1];
      while (end < order.length && halves[2 * end + 1] === prefix) end++;
      if (end - start > 1) {
        order.subarray(start, end).sort((a, b) =>
          compare(bytes, a * size, { bytes, offset: b * size, size })
        );
      }
      start = end;
    }
    return order;
  }
}

/** Compares `size` bytes at two places, each in bytes of its own. */
function compare(
  bytes: Uint8Array,
  at: number,
  other: { readonly bytes: Uint8Array; readonly offset: number; readonly size: number },
): number {
  const { bytes: otherBytes, offset, size } = other;
  for (let i = 0; i < size; i++) {
    const difference = bytes[at + i]! - otherBytes[offset + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
