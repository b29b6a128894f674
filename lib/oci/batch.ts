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

/** States of a batch, in its first control word. */
const STATE = { filling: 0, done: 1, failed: 2 } as const;

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

  /** Whether a file of this size still fits. */
  fits(size: number): boolean {
    return this.#count < BATCH_FILES && size <= BATCH_SIZE - this.#used;
  }

  /** Empties the batch for its next use. */
  reset(): void {
    this.#used = 0;
    this.#count = 0;
    this.#control.fill(0);
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

  /** Waits for the other worker; false when it failed (its own error tells why). */
  wait(): boolean {
    for (;;) {
      const state = Atomics.load(this.#control, CONTROL.state);
      if (state !== STATE.filling) return state === STATE.done;
      Atomics.wait(this.#control, CONTROL.state, state);
    }
  }

  /** Whether the other worker is done. */
  get settled(): boolean {
    return Atomics.load(this.#control, CONTROL.state) !== STATE.filling;
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

  /** Stores all files; runs on the other worker. Returns the ids of repaired objects. */
  store(directory: ObjectDirectory, count: number): ObjectId[] {
    const repaired: ObjectId[] = [];
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
      this.#settle(STATE.done);
    } catch (error) {
      this.#settle(STATE.failed);
      throw error;
    }
    return repaired;
  }

  /** Lets a waiting worker go on without a result. */
  fail(): void {
    this.#settle(STATE.failed);
  }

  #settle(state: number): void {
    Atomics.store(this.#control, CONTROL.state, state);
    Atomics.notify(this.#control, CONTROL.state);
  }
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
    known.algorithm.id !== options.algorithm.id || known.thorough !== options.thorough
  ) last = { options, directory: new ObjectDirectory(options) };
  return last.directory;
}

/** Handler: stores the files of a batch. */
export function storeBatch(task: BatchTask): ObjectId[] {
  try {
    return new Batch(task.memory).store(directoryFor(task.objects), task.count);
  } finally {
    // Not left to the pool's result, which a busy thread sees late.
    Atomics.add(new Int32Array(task.credits), 0, 1);
  }
}
