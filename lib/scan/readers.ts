/** Distributes batches of files over this thread and workers. */
import { letMessagesIn, Pool } from "../base/mod.ts";
import { BatchReader, type BatchResult, type FileBatch } from "./batch.ts";
import type { SinkSource } from "./sink.ts";
import { READ_FILES } from "./worker_setup.ts";

/** Less work than this is done before a worker has started. */
const WORTH_A_WORKER = { bytes: 16 << 20, files: 1000 } as const;

/** Batches a worker holds: enough to last while this thread walks or hashes itself. */
const DEPTH = 4;

/** Batches that wait for a worker before this thread reads some itself. */
const MAX_WAITING = 24;

/** Receives what was read of a batch, nothing when it could not be read. */
export type BatchDone = (result: BatchResult | undefined) => void;

/** One unit of work. */
export interface Batch {
  /** What to read. */
  readonly files: FileBatch;
  /** Number of files. */
  readonly count: number;
  /** Bytes in them. */
  readonly bytes: number;
  /** Called when it has been read, or cannot be; nobody uses the descriptors any more. */
  readonly done: BatchDone;
}

/** Reads batches: at first none, then on workers and, whenever it would wait, on this thread. */
export class Readers implements AsyncDisposable {
  readonly #source: SinkSource;
  readonly #jobs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #local: BatchReader;
  readonly #early: Batch[] = [];
  readonly #running = new Set<Promise<void>>();
  #pool: Pool | undefined;
  #bytes = 0;
  #files = 0;
  #failure: { error: unknown } | undefined;

  /** Creates readers on at most `jobs` threads, this one included. */
  constructor(source: SinkSource, options: { jobs: number; signal?: AbortSignal | undefined }) {
    this.#source = source;
    this.#jobs = options.jobs;
    this.#signal = options.signal;
    this.#local = new BatchReader(source.local);
  }

  /** Takes a batch; may read it, or another one, right here. */
  async add(batch: Batch): Promise<void> {
    try {
      this.#check();
    } catch (error) {
      batch.done(undefined);
      throw error;
    }
    this.#bytes += batch.bytes;
    this.#files += batch.count;
    if (this.#pool === undefined) {
      this.#early.push(batch);
      if (this.#bytes < WORTH_A_WORKER.bytes && this.#files < WORTH_A_WORKER.files) return;
      if (this.#jobs > 1) this.#startPool();
      else this.#readEarly();
    } else this.#submit(this.#pool, batch);
    // Without this the workers would get nothing new while this thread walks.
    await letMessagesIn();
    while (this.#pool !== undefined && this.#pool.waiting > MAX_WAITING) await this.#help();
  }

  /** Reads everything that has been added. */
  async drain(): Promise<void> {
    this.#readEarly();
    while (this.#pool !== undefined && this.#pool.waiting > 0) await this.#help();
    await Promise.all(this.#running);
    this.#check();
  }

  /** Throws what has gone wrong so far. */
  #check(): void {
    this.#signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #help(): Promise<void> {
    this.#check();
    this.#pool!.steal((files: FileBatch) => this.#local.read(files));
    await letMessagesIn();
  }

  #readEarly(): void {
    for (let batch = this.#early.pop(); batch !== undefined; batch = this.#early.pop()) {
      let result: BatchResult | undefined;
      try {
        this.#check();
        result = this.#local.read(batch.files);
      } finally {
        batch.done(result);
      }
    }
  }

  #startPool(): void {
    this.#pool = new Pool(this.#source.worker, { size: this.#jobs - 1, depth: DEPTH });
    this.#pool.warm();
    for (const batch of this.#early.splice(0)) this.#submit(this.#pool, batch);
  }

  #submit(pool: Pool, batch: Batch): void {
    const running = pool.run<BatchResult>(READ_FILES, batch.files).then(
      (result) => batch.done(result),
      (error) => {
        this.#failure ??= { error };
        batch.done(undefined);
      },
    ).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Waits for what is under way, gives up the rest, stops the workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const batch of this.#early.splice(0)) batch.done(undefined);
    await this.#pool?.close();
    await Promise.all(this.#running);
  }
}
