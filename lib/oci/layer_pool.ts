import { type ComposefsError, Pool, type ProgressSink } from "../base/mod.ts";
import { Batch, type BatchTask } from "./batch.ts";
import type { ImportedLayer, LayerEvent, LayerTask } from "./layer_import.ts";

/** Batches that an idle worker may have waiting, so that it never runs dry. */
const CREDITS_A_WORKER = 2;

/**
 * Imports layers on a pool of workers. A worker that has no layer of its own takes batches of files
 * off the others.
 */
export class LayerPool implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #credits = new SharedArrayBuffer(4);
  readonly #count = new Int32Array(this.#credits);
  readonly #progress: ProgressSink;
  #layers = 0;

  /** Creates the pool; workers are started when there is work. */
  constructor(options: { jobs?: number; signal?: AbortSignal; progress?: ProgressSink } = {}) {
    this.#progress = options.progress ?? (() => {});
    this.#pool = new Pool(new URL("./layer_worker.ts", import.meta.url), {
      ...(options.jobs === undefined ? {} : { size: options.jobs }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  }

  /** Starts the workers, so that their start-up overlaps with reading manifests. */
  warm(): void {
    this.#pool.warm();
  }

  /**
   * Imports one layer; call for all layers at once, the largest first.
   *
   * @param id what progress events call the layer
   */
  async import(task: Omit<LayerTask, "credits">, id: string): Promise<ImportedLayer> {
    const { size } = task.blob;
    this.#layers++;
    this.#grant();
    this.#progress({ type: "started", id, unit: "bytes", total: size });
    try {
      const onEvent = (event: unknown) => this.#receive(event as LayerEvent, { task, id });
      const message: LayerTask = { ...task, credits: this.#credits };
      const layer = await this.#pool.run<ImportedLayer>("import-layer", message, { onEvent });
      this.#progress({ type: "done", id, transferred: size });
      return layer;
    } finally {
      this.#layers--;
      this.#grant();
    }
  }

  #receive(event: LayerEvent, layer: { task: Omit<LayerTask, "credits">; id: string }): void {
    if (event.type === "progress") {
      const { done, objects } = event;
      this.#progress({ type: "progress", id: layer.id, done, objects });
      return;
    }
    const { memory, count } = event;
    const { objects } = layer.task;
    this.#batches++;
    this.#pool.run("store-batch", { memory, count, objects } satisfies BatchTask)
      .catch((error: ComposefsError) => {
        // The layer's worker waits for the batch: it fails, and the reason is kept for the caller.
        this.failure ??= error;
        new Batch(memory).fail();
      })
      .finally(() => {
        this.#batches--;
        this.#grant();
      });
  }

  /** Why a batch failed; more telling than what the layer's import then says. */
  failure: ComposefsError | undefined;
  #batches = 0;

  /** Says how many more batches idle workers would take. */
  #grant(): void {
    const idle = this.#pool.size - this.#layers;
    const credits = idle <= 0 ? 0 : idle * CREDITS_A_WORKER - this.#batches;
    Atomics.store(this.#count, 0, Math.max(0, credits));
  }

  /** Stops the workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
  }
}
