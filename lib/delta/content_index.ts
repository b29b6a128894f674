/** Finding content anywhere in the old image: a table of hashes of sampled blocks (spec: oci 7.6). */

/** Bytes of a block that is looked up. */
const BLOCK = 32;
/** Smallest distance of indexed blocks; larger for larger images. */
const MIN_STEP = 16;
/** Most indexed blocks: the table takes 16 bytes for each. */
const MAX_BLOCKS = 6 * 2 ** 20;
const SLOTS_PER_BLOCK = 2;
/** Slots looked at for one block. */
const PROBES = 8;
const FACTOR = 0x01000193;
const SPREAD = 0x9e3779b1;

/** FACTOR to the power of BLOCK: what the byte that leaves a block counted for. */
const LEAVING = power(FACTOR, BLOCK);

function power(base: number, exponent: number): number {
  let result = 1;
  for (let i = 0; i < exponent; i++) result = Math.imul(result, base);
  return result;
}

/** The parts of an index, all of which other threads can read. */
export interface ContentIndexParts {
  /** Distance of indexed blocks within a file, in bytes. */
  readonly step: number;
  /** First unit of each file, and behind them the number of units; a unit is `step` bytes. */
  readonly starts: Uint32Array;
  /** Units by slot, plus one; 0 is an empty slot. */
  readonly units: Uint32Array;
  /** Hashes by slot. */
  readonly hashes: Uint32Array;
}

/** Where a block is in the old image. */
export interface Found {
  /** Number of the file. */
  file: number;
  /** Place in it, in bytes. */
  position: number;
}

/**
 * Blocks of all files of an image by a rolling hash. Of equal blocks the first one is kept. What is
 * found has to be compared, since only hashes are kept.
 */
export class ContentIndex {
  /** For handing over to another thread. */
  readonly parts: ContentIndexParts;
  /** Bytes by which pieces of a file must overlap when they are inserted one after the other. */
  static readonly overlap: number = BLOCK - 1;
  readonly #found: Found = { file: 0, position: 0 };
  readonly #slotShift: number;

  /** Takes over parts that were filled elsewhere. */
  constructor(parts: ContentIndexParts) {
    this.parts = parts;
    this.#slotShift = Math.clz32(parts.units.length - 1);
  }

  /**
   * An empty index for files of these sizes, in memory that threads share.
   *
   * @param sizes in bytes; units must stay below 2^32, which is 64 GiB or more
   */
  static create(sizes: readonly number[]): ContentIndex {
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const step = MIN_STEP * Math.max(1, Math.ceil(total / (MIN_STEP * MAX_BLOCKS)));
    const starts = new Uint32Array(new SharedArrayBuffer((sizes.length + 1) * 4));
    let units = 0;
    for (const [i, size] of sizes.entries()) {
      starts[i] = units;
      units += Math.ceil(size / step);
    }
    starts[sizes.length] = units;
    let slots = 1024;
    while (slots < units * SLOTS_PER_BLOCK) slots *= 2;
    const table = () => new Uint32Array(new SharedArrayBuffer(slots * 4));
    return new ContentIndex({ step, starts, units: table(), hashes: table() });
  }

  /**
   * Adds the blocks of a file, or of a piece of it that begins at a multiple of the step.
   *
   * @param position where the piece begins in the file; pieces overlap by a block
   */
  insert(file: number, bytes: Uint8Array, position = 0): void {
    const { step, starts, units, hashes } = this.parts;
    const first = starts[file]! + position / step;
    const shift = this.#slotShift;
    const mask = units.length - 1;
    for (let at = 0, unit = first; at + BLOCK <= bytes.length; at += step, unit++) {
      if (isPlain(bytes, at)) continue;
      const hash = blockHash(bytes, at);
      let slot = Math.imul(hash, SPREAD) >>> shift;
      for (let i = 0; i < PROBES; i++, slot = (slot + 1) & mask) {
        if (units[slot] === 0) {
          units[slot] = unit + 1;
          hashes[slot] = hash;
          break;
        }
        if (hashes[slot] === hash >>> 0) break;
      }
    }
  }

  /**
   * Looks for the first block of `bytes[from, to)` that the image may have.
   *
   * @param visit told what was found and where the block is in `bytes`; returns where to go on, at
   * least one byte further. The object is valid during the call.
   */
  scan(
    bytes: Uint8Array,
    range: { from: number; to: number },
    visit: (at: number, found: Found) => number,
  ): void {
    const { units, hashes } = this.parts;
    const shift = this.#slotShift;
    const mask = units.length - 1;
    const last = range.to - BLOCK;
    for (let at = range.from; at <= last;) {
      let hash = blockHash(bytes, at);
      let next = -1;
      while (next < 0) {
        let slot = Math.imul(hash, SPREAD) >>> shift;
        for (let i = 0; i < PROBES && units[slot] !== 0; i++, slot = (slot + 1) & mask) {
          if (hashes[slot] !== hash >>> 0) continue;
          next = Math.max(at + 1, visit(at, this.#place(units[slot]! - 1)));
          break;
        }
        if (next >= 0) break;
        if (at >= last) return;
        hash = Math.imul(hash, FACTOR) + bytes[at + BLOCK]! - Math.imul(bytes[at]!, LEAVING) | 0;
        at++;
      }
      at = next;
    }
  }

  /** File and position of a unit. */
  #place(unit: number): Found {
    const { starts, step } = this.parts;
    let low = 0;
    let high = starts.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= unit) low = middle;
      else high = middle;
    }
    this.#found.file = low;
    this.#found.position = (unit - starts[low]!) * step;
    return this.#found;
  }
}

function blockHash(bytes: Uint8Array, at: number): number {
  let hash = 0;
  for (let i = 0; i < BLOCK; i++) hash = Math.imul(hash, FACTOR) + bytes[at + i]! | 0;
  return hash;
}

/** Whether a block is one byte over and over, which is found anywhere and worth nothing. */
function isPlain(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at]!;
  for (let i = 1; i < BLOCK; i++) if (bytes[at + i] !== first) return false;
  return true;
}
