/**
 * Checksums that wait for any thread to take them, in shared memory: the thread that finds them and
 * those that import what they name go on without waiting for each other's event loop.
 */
import { toHex, writeHex } from "../base/mod.ts";
import { type Checksum, CHECKSUM_SIZE } from "./checksum.ts";

/** Checksums that fit; a power of two, so that places stay right when positions wrap around. */
const CAPACITY = 65_536;

/** Control words; positions count modulo 2^32, and `events` goes up with every change of others. */
const CONTROL = { written: 0, taken: 1, state: 2, events: 3, words: 4 } as const;
const STATE = { open: 0, closed: 1, givenUp: 2 } as const;

/** The shared memory of a queue, as sent between threads. */
export interface ChecksumQueueMemory {
  /** Control words. */
  readonly control: SharedArrayBuffer;
  /** The checksums, in a ring. */
  readonly ring: SharedArrayBuffer;
}

/** Checksums that one thread took. */
export interface TakenChecksums {
  /** How many had been taken before, modulo 2^32. */
  readonly first: number;
  /** The checksums. */
  readonly checksums: readonly Checksum[];
}

/** A queue with one thread that adds and any number that take. */
export class ChecksumQueue {
  readonly memory: ChecksumQueueMemory;
  readonly #control: Int32Array;
  readonly #ring: Uint8Array;

  /** Views of new or received memory. */
  constructor(memory: ChecksumQueueMemory = newMemory()) {
    this.memory = memory;
    this.#control = new Int32Array(memory.control);
    this.#ring = new Uint8Array(memory.ring);
  }

  /** Adds a checksum; false when the queue is full. */
  add(checksum: Checksum): boolean {
    const control = this.#control;
    const written = Atomics.load(control, CONTROL.written);
    if ((written - Atomics.load(control, CONTROL.taken) | 0) >= CAPACITY) return false;
    writeHex(checksum, this.#ring, place(written));
    Atomics.store(control, CONTROL.written, written + 1 | 0);
    this.#changed();
    return true;
  }

  /** Says that no more will come: those who wait go on. */
  close(): void {
    Atomics.compareExchange(this.#control, CONTROL.state, STATE.open, STATE.closed);
    this.#changed();
  }

  /** Lets nobody take anything any more. */
  giveUp(): void {
    Atomics.store(this.#control, CONTROL.state, STATE.givenUp);
    this.#changed();
  }

  #changed(): void {
    Atomics.add(this.#control, CONTROL.events, 1);
    Atomics.notify(this.#control, CONTROL.events);
  }

  /** Takes up to `count` checksums that are there; undefined when there are none. */
  take(count: number): TakenChecksums | undefined {
    const control = this.#control;
    while (Atomics.load(control, CONTROL.state) !== STATE.givenUp) {
      const first = Atomics.load(control, CONTROL.taken);
      const there = Atomics.load(control, CONTROL.written) - first | 0;
      const mine = Math.min(count, there);
      if (mine <= 0) return undefined;
      // Read before they are taken: from then on they may be written over.
      const checksums = Array.from({ length: mine }, (_, i) => this.#at(first + i));
      if (Atomics.compareExchange(control, CONTROL.taken, first, first + mine | 0) === first) {
        return { first: first >>> 0, checksums };
      }
    }
    return undefined;
  }

  /** Same as {@linkcode ChecksumQueue.take}, but waits for some; undefined when none will come. */
  waitAndTake(count: number): TakenChecksums | undefined {
    for (;;) {
      const seen = Atomics.load(this.#control, CONTROL.events);
      const ended = Atomics.load(this.#control, CONTROL.state) !== STATE.open;
      const taken = this.take(count);
      if (taken !== undefined || ended) return taken;
      Atomics.wait(this.#control, CONTROL.events, seen);
    }
  }

  #at(position: number): Checksum {
    const at = place(position);
    return toHex(this.#ring, at, at + CHECKSUM_SIZE) as Checksum;
  }
}

/** Where in the ring a position is. */
function place(position: number): number {
  return (position & CAPACITY - 1) * CHECKSUM_SIZE;
}

function newMemory(): ChecksumQueueMemory {
  return {
    control: new SharedArrayBuffer(CONTROL.words * Int32Array.BYTES_PER_ELEMENT),
    ring: new SharedArrayBuffer(CAPACITY * CHECKSUM_SIZE),
  };
}
