/** Where one file is similar to another: exact matches, grown into stretches with few differences. */

/** Told about a new file's bytes in order, without gaps. */
export interface MatchSink {
  /** `length` new bytes at `freshAt` are like the old ones at `oldAt`, but not all equal. */
  similar(freshAt: number, oldAt: number, length: number): void;
  /** `length` new bytes at `freshAt` are like nothing. */
  unlike(freshAt: number, length: number): void;
}

/** Lengths of what is looked up: a long match is found among many, else a short one. */
const LONG = 24;
const SHORT = 8;
/** Places looked at for one lookup. */
const DEPTH = 24;
/** A match of this many bytes is good enough to look no further. */
const GOOD = 96;
/** Bytes by which another place must beat the current one: what changing over costs. */
const GAIN = 14;
/** Most places that are indexed: memory is 4 bytes for each of them in two tables. */
const MAX_PLACES = 8 * 2 ** 20;
const MAX_HEAD_BITS = 21;
const WORD = 4;
/**
 * Stretches are drawn back as far as it goes until this many bytes have been compared for each byte of
 * the new file, then by no more than that: inputs could be made that take for ever.
 */
const BACK_BUDGET = 64;
const MAX_BACK = 4096;
/** Bytes without a match after which not every byte is looked up, and how few are at most. */
const QUIET = 256;
const MAX_PACE = 16;

const FACTOR_A = 0x9e3779b1;
const FACTOR_B = 0x85ebca6b;

/** Places of an old file by a hash of the bytes that stand there, the last ones first. */
class PlaceIndex {
  readonly #length: number;
  readonly #head = new Int32Array(2 ** MAX_HEAD_BITS);
  #next = new Int32Array(0);
  #mask = 0;
  #step = 1;

  /** @param length bytes that are hashed, a multiple of 4 */
  constructor(length: number) {
    this.#length = length;
  }

  #hash(view: DataView, at: number): number {
    let hash = 0;
    for (let i = 0; i < this.#length; i += WORD) {
      hash = Math.imul(hash ^ view.getUint32(at + i, true), FACTOR_A);
      hash ^= hash >>> 15;
    }
    return (Math.imul(hash, FACTOR_B) >>> 7) & this.#mask;
  }

  /** Indexes all places, or in a large file every so many. */
  fill(view: DataView, step: number): void {
    const places = Math.max(0, Math.floor((view.byteLength - this.#length) / step) + 1);
    const bits = Math.min(MAX_HEAD_BITS, Math.max(8, 32 - Math.clz32(places)));
    this.#mask = 2 ** bits - 1;
    this.#step = step;
    const head = this.#head;
    head.fill(0, 0, 2 ** bits);
    if (this.#next.length < places) this.#next = new Int32Array(places);
    const next = this.#next;
    let before = -1;
    for (let i = 0; i < places; i++) {
      const slot = this.#hash(view, i * step);
      // In a run of equal bytes, and in a table with a period, the first place is enough.
      if (slot === before) continue;
      before = slot;
      next[i] = head[slot]!;
      head[slot] = i + 1;
    }
  }

  /** First place of the chain for the bytes at `at`, plus one; 0 for none. */
  first(view: DataView, at: number): number {
    return this.#head[this.#hash(view, at)]!;
  }

  /** The place after `link` in its chain, plus one. */
  next(link: number): number {
    return this.#next[link - 1]!;
  }

  /** Distance of the indexed places. */
  get step(): number {
    return this.#step;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Compares files the way bsdiff does (spec: oci 7.5): from exact matches, stretches grow in both
 * directions as long as at least half of their bytes agree, so that code whose addresses have moved
 * stays one stretch. In the place of a suffix array there are two hash tables, which find nearly
 * the same matches in a fraction of time and memory. One matcher serves many pairs.
 */
export class PairMatcher {
  readonly #long = new PlaceIndex(LONG);
  readonly #short = new PlaceIndex(SHORT);
  #old: Uint8Array = new Uint8Array(0);
  #oldView: DataView = new DataView(new ArrayBuffer(0));
  #fresh: Uint8Array = new Uint8Array(0);
  #freshView: DataView = new DataView(new ArrayBuffer(0));
  /** Bytes that may still be compared backwards. */
  #budget = 0;
  /** Result of the last search. */
  #length = 0;
  #place = 0;

  /** Takes the old file; it must stay as it is until the next one is given. */
  setOld(old: Uint8Array): void {
    this.#old = old;
    this.#oldView = viewOf(old);
    const step = Math.ceil(old.length / MAX_PLACES) || 1;
    this.#long.fill(this.#oldView, step);
    this.#short.fill(this.#oldView, step);
  }

  /** Number of bytes from the two places on that are equal. */
  #common(freshAt: number, oldAt: number): number {
    const limit = Math.min(this.#fresh.length - freshAt, this.#old.length - oldAt);
    let count = 0;
    while (
      count + WORD <= limit &&
      this.#freshView.getUint32(freshAt + count, true) ===
        this.#oldView.getUint32(oldAt + count, true)
    ) count += WORD;
    while (count < limit && this.#fresh[freshAt + count] === this.#old[oldAt + count]) count++;
    return count;
  }

  #lookUp(index: PlaceIndex, at: number): void {
    let link = index.first(this.#freshView, at);
    for (let i = 0; i < DEPTH && link !== 0; i++) {
      const place = (link - 1) * index.step;
      const best = this.#length;
      if (this.#old[place + best] === this.#fresh[at + best]) {
        const count = this.#common(at, place);
        if (count > best) {
          this.#length = count;
          this.#place = place;
          if (count >= GOOD) return;
        }
      }
      link = index.next(link);
    }
  }

  /** Improves on the match that is known, if it is not good already. */
  #search(at: number): void {
    const left = this.#fresh.length - at;
    if (this.#length >= GOOD) return;
    if (left >= LONG) this.#lookUp(this.#long, at);
    if (this.#length < LONG && left >= SHORT) this.#lookUp(this.#short, at);
  }

  /** Tells how the new file is like the old one. */
  match(fresh: Uint8Array, sink: MatchSink): void {
    const old = this.#old;
    this.#fresh = fresh;
    this.#freshView = viewOf(fresh);
    this.#budget = BACK_BUDGET * fresh.length;
    let scan = 0;
    let length = 0;
    let lastScan = 0;
    let lastPlace = 0;
    /** Place in the old file minus place in the new one. */
    let shift = 0;
    /** Bytes since something was found. */
    let quiet = 0;
    while (scan < fresh.length) {
      let score = 0;
      scan += length;
      let scored = scan;
      length = 0;
      this.#length = 0;
      let alignedEnd = -1;
      for (; scan < fresh.length; scan++) {
        // What was found for the byte before is one shorter now; staying in line is free.
        if (this.#length > 0) {
          this.#length--;
          this.#place++;
        }
        const aligned = scan + shift;
        if (alignedEnd <= scan) {
          alignedEnd = aligned >= 0 && aligned < old.length
            ? scan + this.#common(scan, aligned)
            : scan;
        }
        if (alignedEnd - scan >= this.#length) {
          this.#length = alignedEnd - scan;
          this.#place = aligned;
        }
        // Where nothing has been found for long, looking less often is enough: what is found is drawn
        // back to where it begins.
        if (this.#length >= SHORT) quiet = 0;
        else quiet++;
        if (quiet < QUIET || scan % Math.min(MAX_PACE, Math.floor(quiet / QUIET)) === 0) {
          this.#search(scan);
        }
        length = this.#length;
        for (; scored < scan + length; scored++) {
          if (old[scored + shift] === fresh[scored]) score++;
        }
        if ((length === score && length !== 0) || length > score + GAIN) break;
        if (old[scan + shift] === fresh[scan]) score--;
      }
      if (length === score && scan < fresh.length) continue;
      const place = this.#place;
      let forward = this.#forward(lastScan, lastPlace, scan);
      let backward = scan < fresh.length ? this.#backward(lastScan, place, scan) : 0;
      const overlap = lastScan + forward - (scan - backward);
      if (overlap > 0) {
        const keep = this.#cut({ overlap, first: lastScan + forward - overlap, shift }, {
          shift: place - scan,
        });
        forward += keep - overlap;
        backward -= keep;
      }
      if (forward > 0) sink.similar(lastScan, lastPlace, forward);
      const gap = scan - backward - (lastScan + forward);
      if (gap > 0) sink.unlike(lastScan + forward, gap);
      lastScan = scan - backward;
      lastPlace = place - backward;
      shift = place - scan;
    }
    if (lastScan < fresh.length) sink.unlike(lastScan, fresh.length - lastScan);
  }

  /** How far the stretch that began at `from` goes on: where agreement is at its best. */
  #forward(from: number, place: number, scan: number): number {
    const limit = Math.min(scan - from, this.#old.length - place);
    let sum = 0;
    let best = 0;
    let length = 0;
    for (let i = 0; i < limit; i++) {
      sum += this.#old[place + i] === this.#fresh[from + i] ? 1 : -1;
      if (sum > best) {
        best = sum;
        length = i + 1;
      }
    }
    return length;
  }

  /** How far the stretch at `scan` can be drawn back. */
  #backward(from: number, place: number, scan: number): number {
    let limit = Math.min(scan - from, place);
    if (this.#budget < limit) limit = Math.min(limit, MAX_BACK);
    this.#budget -= limit;
    let sum = 0;
    let best = 0;
    let length = 0;
    for (let i = 1; i <= limit; i++) {
      sum += this.#old[place - i] === this.#fresh[scan - i] ? 1 : -1;
      if (sum > best) {
        best = sum;
        length = i;
      }
    }
    return length;
  }

  /** Where two stretches that overlap part: bytes of the overlap that the first one keeps. */
  #cut(
    first: { overlap: number; first: number; shift: number },
    second: { shift: number },
  ): number {
    let sum = 0;
    let best = 0;
    let keep = 0;
    for (let i = 0; i < first.overlap; i++) {
      const at = first.first + i;
      if (this.#old[at + first.shift] === this.#fresh[at]) sum++;
      if (this.#old[at + second.shift] === this.#fresh[at]) sum--;
      // Of equals the first one keeps its bytes: they are settled then.
      if (sum >= best) {
        best = sum;
        keep = i + 1;
      }
    }
    return keep;
  }
}
