/** Ranges of a blob that are still arriving: who fetches them tells, who needs them waits. */
import { ComposefsError, FormatError } from "../base/mod.ts";
import type { BlobRange } from "../chunked/mod.ts";

const WAITING = 0;
const FAILED = -1;
/** Longest wait without another look, in milliseconds. */
const LOOK = 200;
/** Where the count of failures stands; behind it is a word for each range. */
const STATE = 0;

/** The fetcher's end. */
export class RangeArrival {
  /** What the reader on another thread is sent. */
  readonly memory: SharedArrayBuffer;
  /** Why nothing more comes. */
  failure: unknown;
  readonly #words: Int32Array;

  /** None of so many ranges has arrived yet. */
  constructor(ranges: number) {
    this.memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * (ranges + 1));
    this.#words = new Int32Array(this.memory);
  }

  /** Tells that a range is there, by its number. */
  arrived(range: number): void {
    Atomics.store(this.#words, range + 1, 1);
    Atomics.notify(this.#words, range + 1);
  }

  /** Tells that nothing more will come. */
  fail(reason: unknown): void {
    this.failure ??= reason;
    for (let i = 1; i < this.#words.length; i++) {
      Atomics.compareExchange(this.#words, i, WAITING, FAILED);
      Atomics.notify(this.#words, i);
    }
    Atomics.store(this.#words, STATE, FAILED);
  }
}

/** Number of the range that has the byte at `offset`. */
function rangeAt(ranges: readonly BlobRange[], offset: number): number {
  let low = 0;
  for (let high = ranges.length; low < high;) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.end <= offset) low = middle + 1;
    else high = middle;
  }
  const range = ranges[low];
  if (range === undefined || offset < range.start) {
    throw new FormatError("blob", `Byte ${offset} was not asked for`);
  }
  return low;
}

/**
 * Waits until the range with the byte at `offset` has arrived; blocks the thread, so it is for
 * workers.
 *
 * @param memory of a {@linkcode RangeArrival}
 * @throws {ComposefsError} when it will not come; the reason is the fetcher's to tell
 */
export function waitForRange(
  memory: SharedArrayBuffer,
  ranges: readonly BlobRange[],
  offset: number,
): void {
  const words = new Int32Array(memory);
  const at = rangeAt(ranges, offset) + 1;
  for (;;) {
    const state = Atomics.load(words, at);
    if (state === FAILED) throw new ComposefsError("CFS_FAILED", "A range did not arrive");
    if (state !== WAITING) return;
    Atomics.wait(words, at, WAITING, LOOK);
  }
}
