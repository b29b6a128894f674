import { type ComposefsError, type ObjectId, Pool, type ProgressSink } from "../base/mod.ts";
import { Batch, type BatchTask, storeBatch } from "./batch.ts";
import {
  type ImportedLayer,
  importLayer,
  type LayerEvent,
  type LayerTask,
} from "./layer_import.ts";

/** Batches that an idle thread may have waiting, so that it never runs dry. */
const CREDITS_A_THREAD = 2;

/** How layers are imported. */
export interface LayerPoolOptions {
  /** Threads that work, this one included. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is, per layer. */
  progress?: ProgressSink;
}

/**
 * Imports layers on workers and on this thread, which is one of those that work because a worker
 * costs its start-up and the warming up of its code. A thread that has no layer of its own takes
 * batches of files off the others.
 */
export class LayerPool implements AsyncDisposable {
  readonly #threads: number;
  readonly #pool: Pool;
  readonly #signal: AbortSignal;
  readonly #progress: ProgressSink;
  readonly #credits = new SharedArrayBuffer(4);
  readonly #count = new Int32Array(this.#credits);
  /** Emitters of the layers under way, by the task that a message is. */
  readonly #emitters = new Map<LayerTask, (event: unknown) => void>();
  #layers = 0;
  #idle = 0;
  #busyHere = false;
  /** Why a batch failed; more telling than what the layer's import then says. */
  failure: ComposefsError | undefined;

  /** Creates the pool; workers are started when there is work for them. */
  constructor(options: LayerPoolOptions = {}) {
    this.#threads = Math.max(1, options.jobs ?? navigator.hardwareConcurrency);
    this.#signal = options.signal ?? new AbortController().signal;
    this.#progress = options.progress ?? (() => {});
    this.#pool = new Pool(new URL("./layer_worker.ts", import.meta.url), {
      size: this.#threads - 1,
      signal: this.#signal,
    });
  }

  /**
   * Imports one layer; give the largest first.
   *
   * @param id what progress events call the layer
   */
  async import(task: Omit<LayerTask, "credits">, id: string): Promise<ImportedLayer> {
    const { size } = task.blob;
    const message: LayerTask = { ...task, credits: this.#credits };
    const onEvent = (event: unknown) => this.#receive(event as LayerEvent, { task: message, id });
    this.#layers++;
    this.#grant();
    this.#emitters.set(message, onEvent);
    this.#progress({ type: "started", id, unit: "bytes", total: size });
    try {
      const imported = this.#pool.run<ImportedLayer>("import-layer", message, { onEvent });
      void this.#help();
      const layer = await imported;
      this.#progress({ type: "done", id, transferred: size });
      return layer;
    } finally {
      this.#emitters.delete(message);
      this.#layers--;
      this.#grant();
    }
  }

  /** Imports on this thread what no worker has taken, until nothing is left. */
  async #help(): Promise<void> {
    if (this.#busyHere) return;
    this.#busyHere = true;
    await null; // whoever submits several layers at once gets them all in first
    for (;;) {
      let work: Promise<ImportedLayer> | undefined;
      this.#pool.steal((task: LayerTask) => work = this.#importHere(task), "import-layer");
      if (work === undefined) break;
      await work.catch(() => {}); // thrown where it was submitted
    }
    this.#busyHere = false;
    this.#takeBatches();
  }

  #importHere(task: LayerTask): Promise<ImportedLayer> {
    const emit = this.#emitters.get(task)!;
    const context = { signal: this.#signal, emit, transfer: () => {} };
    return importLayer(task, context, () => this.#takeBatches());
  }

  /** Stores here the batches that no worker has started. */
  #takeBatches(): void {
    while (this.#pool.steal(storeBatch, "store-batch"));
  }

  #receive(event: LayerEvent, layer: { task: LayerTask; id: string }): void {
    if (event.type === "progress") {
      const { done, objects } = event;
      this.#progress({ type: "progress", id: layer.id, done, objects });
      return;
    }
    const { memory, count } = event;
    const { objects } = layer.task;
    const batch: BatchTask = { memory, count, objects, credits: this.#credits };
    this.#pool.run<ObjectId[]>("store-batch", batch).then(
      (repaired) => {
        for (const object of repaired) {
          this.#progress({ type: "warning", text: `repaired damaged object ${object}` });
        }
      },
      (error: ComposefsError) => {
        // The layer's thread waits for the batch: it fails, and the reason is kept for the caller.
        this.failure ??= error;
        new Batch(memory).fail();
      },
    );
    if (!this.#busyHere) this.#takeBatches();
  }

  /** Lets idle threads be given batches; whoever has stored one gives its credit back. */
  #grant(): void {
    const idle = Math.max(0, this.#threads - this.#layers);
    Atomics.add(this.#count, 0, (idle - this.#idle) * CREDITS_A_THREAD);
    this.#idle = idle;
  }

  /** Stops the workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
  }
}
