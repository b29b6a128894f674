/** Imports files of a local repository on this thread and on workers. */
import { letMessagesIn, Pool } from "../base/mod.ts";
import type { Checksum } from "./checksum.ts";
import { ChecksumQueue } from "./checksum_queue.ts";
import {
  BATCH,
  dropImporter,
  type ImportBatch,
  importBatch,
  type QueuedBatch,
  type QueueTask,
  unpackBatch,
} from "./import_batch.ts";
import type { ObjectsPlace } from "./local_objects.ts";
import type { FileImport, ImportOptions } from "./source.ts";

/** With fewer files than this all are imported before a worker has started. */
const WORTH_A_WORKER = 400;
/** Batches between two looks at what workers and the user say. */
const LOOK_EVERY = 16;

/** Imports files of a local repository. */
export class LocalImport implements FileImport {
  readonly #places: readonly ObjectsPlace[];
  readonly #options: ImportOptions;
  readonly #jobs: number;
  readonly #queue = new ChecksumQueue();
  /** Everything asked for, in the order in which it was put into the queue. */
  readonly #asked: Checksum[] = [];
  #pool: Pool | undefined;
  readonly #running: Promise<void>[] = [];
  #failure: { error: unknown } | undefined;

  /** Looks for objects in `places` in this order. */
  constructor(places: readonly ObjectsPlace[], options: ImportOptions) {
    this.#places = places;
    this.#options = options;
    this.#jobs = Math.max(1, options.jobs ?? navigator.hardwareConcurrency);
  }

  add(checksum: Checksum): Promise<void> | undefined {
    return this.#put(checksum) ? undefined : this.#putLater(checksum);
  }

  /** Puts a checksum into the queue; false when that is full. */
  #put(checksum: Checksum): boolean {
    if (!this.#queue.add(checksum)) return false;
    this.#asked.push(checksum);
    if (this.#asked.length === WORTH_A_WORKER && this.#jobs > 1) this.#startWorkers();
    return true;
  }

  /** Makes room first, and hears what workers and the user say meanwhile. */
  async #putLater(checksum: Checksum): Promise<void> {
    do {
      this.#importSome();
      await letMessagesIn();
    } while (!this.#put(checksum));
  }

  #startWorkers(): void {
    const size = this.#jobs - 1;
    const pool = this.#pool = new Pool(new URL("./import_worker.ts", import.meta.url), { size });
    const task: QueueTask = {
      queue: this.#queue.memory,
      places: this.#places,
      target: this.#options.target,
    };
    for (let i = 0; i < size; i++) {
      const onEvent = (event: unknown) => {
        if (this.#failure !== undefined) return;
        const { first, batch } = event as QueuedBatch;
        try {
          this.#receive(this.#asked.slice(first, first + batch.lengths.length), batch);
        } catch (error) {
          // Nobody is above an event: whoever adds or drains is told.
          this.#fail(error);
        }
      };
      this.#running.push(
        pool.run<void>("import-queue", task, { onEvent }).catch((error) => this.#fail(error)),
      );
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#queue.giveUp();
  }

  async drain(): Promise<void> {
    this.#queue.close();
    for (let batches = 1; this.#importSome(); batches++) {
      if (batches % LOOK_EVERY === 0) await letMessagesIn();
    }
    await Promise.all(this.#running);
    this.#check();
  }

  /** Imports some files on this thread; false when none are left. */
  #importSome(): boolean {
    this.#check();
    const taken = this.#queue.take(BATCH);
    if (taken === undefined) return false;
    const { checksums } = taken;
    const { target } = this.#options;
    this.#receive(checksums, importBatch({ checksums, places: this.#places, target }));
    return true;
  }

  #receive(checksums: readonly Checksum[], batch: ImportBatch): void {
    for (const file of unpackBatch(checksums, batch)) this.#options.arrived(file);
  }

  #check(): void {
    this.#options.signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Waits for what is under way, gives up the rest, stops the workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue.giveUp();
    await this.#pool?.close();
    await Promise.all(this.#running);
    dropImporter();
  }
}
