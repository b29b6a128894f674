/** Blobs that are still arriving: who writes them tells how far it is, who reads them follows. */
import { ComposefsError } from "../base/mod.ts";

/** What stands in the place of the byte count when nothing more will come. */
const FAILED = -1n;
/** Bytes between two times that waiting readers are woken; waking costs a system call. */
const WAKE_STEP = 128 * 1024;
/** Longest wait without another look, in milliseconds: a notice may come just before the wait. */
const LOOK = 200;

/** The writer's end: counts the bytes that are in the file, from its start. */
export class Arrival {
  /** The count, as sent to a reader on another thread. */
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer(8);
  /** Size of the whole blob in bytes. */
  readonly size: number;
  /** Settled when nothing more will come, all of it being there or not. */
  readonly over: Promise<void>;
  readonly #count = new BigInt64Array(this.memory);
  readonly #end: () => void;
  #arrived = 0;
  #told = 0;
  #failure: unknown;

  /** Nothing has arrived yet. */
  constructor(size: number) {
    this.size = size;
    ({ promise: this.over, resolve: this.#end } = Promise.withResolvers<void>());
    if (size === 0) this.#end();
  }

  /** Bytes that are there. */
  get arrived(): number {
    return this.#arrived;
  }

  /** Why nothing more comes; `undefined` as long as something may. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Whether nothing more will come. */
  get isOver(): boolean {
    return this.#failure !== undefined || this.#arrived >= this.size;
  }

  /** Tells that `bytes` more are in the file. */
  advance(bytes: number): void {
    this.#arrived += bytes;
    if (this.#failure !== undefined) return;
    if (this.#arrived < this.size && this.#arrived - this.#told < WAKE_STEP) return;
    this.#told = this.#arrived;
    Atomics.store(this.#count, 0, BigInt(this.#arrived));
    Atomics.notify(this.#count, 0);
    if (this.#arrived >= this.size) this.#end();
  }

  /** Tells that nothing more will come. */
  fail(reason: unknown): void {
    if (this.#failure !== undefined || this.#told === this.size) return;
    this.#failure = reason ?? new ComposefsError("CFS_FAILED", "The blob did not arrive");
    Atomics.store(this.#count, 0, FAILED);
    Atomics.notify(this.#count, 0);
    this.#end();
  }
}

/**
 * Waits until more than `have` bytes have arrived; blocks the thread, so it is for workers.
 *
 * @param memory of an {@linkcode Arrival}
 * @returns the number of bytes that are there
 * @throws {ComposefsError} when nothing more will come; the reason is the writer's to tell
 */
export function waitForMore(memory: SharedArrayBuffer, have: number): number {
  const count = new BigInt64Array(memory);
  for (;;) {
    const seen = Atomics.load(count, 0);
    if (seen === FAILED) throw new ComposefsError("CFS_FAILED", "The blob did not arrive");
    if (Number(seen) > have) return Number(seen);
    Atomics.wait(count, 0, seen, LOOK);
  }
}
