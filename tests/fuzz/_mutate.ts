/**
 * Seeded randomness and mutation for fuzz tests. The seed comes from the variable `SEED` or is fixed,
 * and each test prints it, so that a failure can be run again.
 *
 * @module
 */

/** A small seeded random generator (xorshift32). */
export class Rng {
  #state: number;

  /** Starts at a seed; 0 is replaced, since it would stay 0. */
  constructor(seed: number) {
    this.#state = (seed >>> 0) || 0x9e3779b9;
  }

  /** Next number, 0 to 2^32 - 1. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return this.#state = x >>> 0;
  }

  /** Next number, 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.next() / 2 ** 32 * limit);
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }
}

/** The seed of a fuzz run: `SEED`, or the same one each time. */
export function seed(): number {
  return Number(Deno.env.get("SEED") ?? 20240613) >>> 0;
}

const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff];
const WIDE = [0, 1, -1, 0x7fffffff, 0x80000000, 0xffff, 0x10000, 512, 4096];

/** A copy of `bytes` with one to eight random changes; at most 1 KiB longer. */
export function mutate(bytes: Uint8Array, rng: Rng): Uint8Array<ArrayBuffer> {
  let out = Uint8Array.from(bytes);
  for (let count = 1 + rng.below(8); count > 0; count--) out = change(out, rng);
  return out;
}

function change(bytes: Uint8Array<ArrayBuffer>, rng: Rng): Uint8Array<ArrayBuffer> {
  const length = bytes.length;
  const at = rng.below(length + 1);
  switch (length === 0 ? 6 : rng.below(9)) {
    case 0: // flip a bit
      bytes[Math.min(at, length - 1)]! ^= 1 << rng.below(8);
      return bytes;
    case 1: // a random byte
      bytes[Math.min(at, length - 1)] = rng.next();
      return bytes;
    case 2: // a byte at a border
      bytes[Math.min(at, length - 1)] = rng.pick(INTERESTING);
      return bytes;
    case 3: // a little-endian word at a border
      if (length >= 4) {
        new DataView(bytes.buffer).setInt32(rng.below(length - 3), rng.pick(WIDE), true);
      }
      return bytes;
    case 4: // cut off the end
      return bytes.slice(0, at);
    case 5: { // remove a part
      const end = Math.min(length, at + rng.below(64));
      return join(bytes.subarray(0, at), bytes.subarray(end));
    }
    case 6: { // insert random bytes
      const part = Uint8Array.from({ length: 1 + rng.below(16) }, () => rng.next());
      return join(bytes.subarray(0, at), part, bytes.subarray(at));
    }
    case 7: { // repeat a part
      const part = bytes.subarray(at, at + rng.below(128));
      return join(bytes.subarray(0, at), part, bytes.subarray(at));
    }
    default: { // copy a part over another
      const from = rng.below(length);
      bytes.copyWithin(at, from, from + rng.below(64));
      return bytes;
    }
  }
}

function join(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
