/** Imports files of a local repository on this thread and on workers. */
import { letMessagesIn, Pool } from "../base/mod.ts";
import type { Checksum } from "./checksum.ts";
import {
  dropImporter,
  type ImportBatch,
  importBatch,
  type ImportTask,
  unpackBatch,
} from "./import_batch.ts";
import type { ObjectsPlace } from "./local_objects.ts";
import type { FileImport, ImportOptions } from "./source.ts";

/** Files in a batch: few, since sizes are not known and the last batch is waited for. */
const BATCH = 32;
/** Fewer files than this are imported before a worker has started. */
const WORTH_A_WORKER = 200;
/** Batches that a worker holds. */
const DEPTH = 4;

/** Imports files of a local repository. */
export class LocalImport implements FileImport {
  readonly #places: readonly ObjectsPlace[];
  readonly #options: ImportOptions;
  readonly #jobs: number;
  #batch: Checksum[] = [];
  #early: Checksum[][] = [];
  #pool: Pool | undefined;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  /** Looks for objects in `places` in this order. */
  constructor(places: readonly ObjectsPlace[], options: ImportOptions) {
    this.#places = places;
    this.#options = options;
    this.#jobs = Math.max(1, options.jobs ?? navigator.hardwareConcurrency);
  }

  add(checksum: Checksum): Promise<void> | undefined {
    this.#batch.push(checksum);
    return this.#batch.length >= BATCH ? this.#send() : undefined;
  }

  async #send(): Promise<void> {
    this.#check();
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    if (this.#pool !== undefined) return this.#submit(this.#pool, batch);
    this.#early.push(batch);
    if (this.#early.length * BATCH < WORTH_A_WORKER || this.#jobs === 1) return;
    this.#pool = new Pool(new URL("./import_worker.ts", import.meta.url), {
      size: this.#jobs - 1,
      depth: DEPTH,
    });
    this.#pool.warm();
    for (const early of this.#early.splice(0)) this.#submit(this.#pool, early);
    await letMessagesIn();
  }

  async drain(): Promise<void> {
    await this.#send();
    for (let batch = this.#early.shift(); batch !== undefined; batch = this.#early.shift()) {
      this.#check();
      this.#receive(batch, importBatch(this.#task(batch)));
    }
    while (this.#pool !== undefined && this.#pool.waiting > 0) {
      this.#check();
      this.#pool.steal((task: ImportTask) => importBatch(task));
      await letMessagesIn();
    }
    await Promise.all(this.#running);
    this.#check();
  }

  #task(checksums: readonly Checksum[]): ImportTask {
    return { checksums, places: this.#places, target: this.#options.target };
  }

  #submit(pool: Pool, checksums: readonly Checksum[]): void {
    const running = pool.run<ImportBatch>("import-files", this.#task(checksums)).then(
      (batch) => this.#receive(checksums, batch),
    ).catch((error) => {
      this.#failure ??= { error };
    }).finally(() => this.#running.delete(running));
    this.#running.add(running);
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
    await this.#pool?.close();
    await Promise.all(this.#running);
    dropImporter();
  }
}
