/**
 * Batches of files that one worker hands to another one that is idle: a layer is unpacked and split
 * on one thread, and when there are fewer layers than cores the hashing and writing of its files
 * moves to the others. Everything is in shared memory, so nothing is copied or allocated.
 */
import { type ObjectId, objectIdFromBytes, writeHex } from "../base/mod.ts";
import { ObjectDirectory, type ObjectDirectoryOptions } from "../repository/mod.ts";

/** Bytes of files in a batch; a larger file is written where it is unpacked. */
export const BATCH_SIZE = 2 * 1024 * 1024;
/** Most files in a batch. */
const BATCH_FILES = 1024;

/** States of a batch, in the lowest bits of its first control word; above them is the turn. */
const STATE = { open: 0, taken: 1, done: 2, failed: 3 } as const;
const STATE_BITS = 2;
const STATE_MASK = (1 << STATE_BITS) - 1;
/** Milliseconds after which whoever waits stores a batch itself that no worker has taken. */
const PATIENCE = 1000;

/** Control words; flags follow. */
const CONTROL = { state: 0, words: 4 } as const;
const MAX_DIGEST = 64;

/** The shared memory of a batch, as sent between threads. */
export interface BatchMemory {
  /** Contents of the files, one after the other. */
  readonly data: SharedArrayBuffer;
  /** Control words, then a flag a file: whether the object is new. */
  readonly control: SharedArrayBuffer;
  /** Size of each file. */
  readonly sizes: SharedArrayBuffer;
  /** Digest of each file. */
  readonly digests: SharedArrayBuffer;
}

/** A batch that is handed over. */
export interface BatchTask {
  /** Where the files are. */
  readonly memory: BatchMemory;
  /** Number of files. */
  readonly count: number;
  /** Which use of the memory this is; a batch of an earlier one is nobody's any more. */
  readonly turn: number;
  /** Where the objects go. */
  readonly objects: ObjectDirectoryOptions;
  /** Number of batches that idle threads would take; goes up by one when this one is done. */
  readonly credits: SharedArrayBuffer;
}

/** Files on their way to another worker and back. */
export class Batch {
  readonly memory: BatchMemory;
  readonly #data: Uint8Array;
  readonly #control: Int32Array;
  readonly #created: Int32Array;
  readonly #sizes: Uint32Array;
  readonly #digests: Uint8Array;
  #used = 0;
  #count = 0;
  #turn = 0;

  /** Views of new or received memory. */
  constructor(memory: BatchMemory = newMemory()) {
    this.memory = memory;
    this.#data = new Uint8Array(memory.data);
    this.#control = new Int32Array(memory.control, 0, CONTROL.words);
    this.#created = new Int32Array(memory.control, CONTROL.words * 4);
    this.#sizes = new Uint32Array(memory.sizes);
    this.#digests = new Uint8Array(memory.digests);
  }

  /** Number of files. */
  get count(): number {
    return this.#count;
  }

  /** Which use of the memory this is. */
  get turn(): number {
    return this.#turn;
  }

  /** Whether a file of this size still fits. */
  fits(size: number): boolean {
    return this.#count < BATCH_FILES && size <= BATCH_SIZE - this.#used;
  }

  /** Empties the batch for its next use. */
  reset(): void {
    this.#used = 0;
    this.#count = 0;
    this.#turn++;
    Atomics.store(this.#control, CONTROL.state, word(this.#turn, STATE.open));
  }

  /** Adds content; call {@linkcode Batch.end} after a file's last bytes. */
  add(bytes: Uint8Array): void {
    this.#data.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  /** Ends a file of `size` bytes; returns its position in the batch. */
  end(size: number): number {
    this.#sizes[this.#count] = size;
    return this.#count++;
  }

  /**
   * Waits for the other worker.
   *
   * @returns whether it has stored everything (its own error tells why not); `undefined` when none
   * has begun after a second: it may never do so
   */
  wait(): boolean | undefined {
    for (;;) {
      const value = Atomics.load(this.#control, CONTROL.state);
      const state = value & STATE_MASK;
      if (state === STATE.done || state === STATE.failed) return state === STATE.done;
      const patience = state === STATE.open ? PATIENCE : Infinity;
      if (Atomics.wait(this.#control, CONTROL.state, value, patience) === "timed-out") {
        return undefined;
      }
    }
  }

  /** Whether the other worker is done. */
  get settled(): boolean {
    const state = Atomics.load(this.#control, CONTROL.state) & STATE_MASK;
    return state === STATE.done || state === STATE.failed;
  }

  /** Makes the batch this thread's to store; false when it is another one's, or long done. */
  claim(turn: number = this.#turn): boolean {
    return this.#change(turn, STATE.open, STATE.taken);
  }

  /** Object of the file at `position`, once the batch is done. */
  object(position: number, digestSize: number): { id: ObjectId; size: number; created: boolean } {
    const at = position * MAX_DIGEST;
    return {
      id: objectIdFromBytes(this.#digests, at, at + digestSize),
      size: this.#sizes[position]!,
      created: this.#created[position] !== 0,
    };
  }

  /** Stores all files, unless another thread does. Returns the ids of repaired objects. */
  store(
    directory: ObjectDirectory,
    { count, turn }: { count: number; turn: number } = this,
  ): ObjectId[] {
    const repaired: ObjectId[] = [];
    if (!this.claim(turn)) return repaired;
    let start = 0;
    try {
      for (let i = 0; i < count; i++) {
        const end = start + this.#sizes[i]!;
        const { id, outcome } = directory.store(this.#data, { start, end });
        writeHex(id, this.#digests, i * MAX_DIGEST);
        this.#created[i] = outcome === "new" ? 1 : 0;
        if (outcome === "repaired") repaired.push(id);
        start = end;
      }
      this.#change(turn, STATE.taken, STATE.done);
    } catch (error) {
      this.#change(turn, STATE.taken, STATE.failed);
      throw error;
    }
    return repaired;
  }

  /** Lets a waiting worker go on without a result. */
  fail(turn: number): void {
    if (!this.#change(turn, STATE.open, STATE.failed)) {
      this.#change(turn, STATE.taken, STATE.failed);
    }
  }

  /** Changes the state, if it is still that one of that turn. */
  #change(turn: number, from: number, to: number): boolean {
    const control = this.#control;
    const expected = word(turn, from);
    const found = Atomics.compareExchange(control, CONTROL.state, expected, word(turn, to));
    if (found === expected) Atomics.notify(control, CONTROL.state);
    return found === expected;
  }
}

function word(turn: number, state: number): number {
  return turn << STATE_BITS | state;
}

function newMemory(): BatchMemory {
  return {
    data: new SharedArrayBuffer(BATCH_SIZE),
    control: new SharedArrayBuffer((CONTROL.words + BATCH_FILES) * 4),
    sizes: new SharedArrayBuffer(BATCH_FILES * 4),
    digests: new SharedArrayBuffer(BATCH_FILES * MAX_DIGEST),
  };
}

/** The writer of the last batch: what it has learned about the store is worth keeping. */
let last: { options: ObjectDirectoryOptions; directory: ObjectDirectory } | undefined;

function directoryFor(options: ObjectDirectoryOptions): ObjectDirectory {
  const known = last?.options;
  if (
    last === undefined || known?.dir !== options.dir || known.secure !== options.secure ||
    known.algorithm.id !== options.algorithm.id || known.thorough !== options.thorough ||
    known.suspects?.join() !== options.suspects?.join()
  ) last = { options, directory: new ObjectDirectory(options) };
  return last.directory;
}

/** Handler: stores the files of a batch. */
export function storeBatch(task: BatchTask): ObjectId[] {
  try {
    return new Batch(task.memory).store(directoryFor(task.objects), task);
  } finally {
    // Not left to the pool's result, which a busy thread sees late.
    Atomics.add(new Int32Array(task.credits), 0, 1);
  }
}
