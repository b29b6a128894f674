import {
  type ComposefsError,
  type ObjectId,
  Pool,
  type ProgressSink,
  type TaskContext,
} from "../base/mod.ts";
import { Batch, type BatchTask, storeBatch } from "./batch.ts";
import { LAYER_HANDLERS, type LayerHandler, type LayerTasks } from "./layer_handlers.ts";
import type { ImportedLayer, LayerEvent, LayerTarget } from "./layer_import.ts";

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
  /**
   * Whether this thread has other things to do, such as receiving the layers: all that work are
   * workers then. @default false
   */
  busy?: boolean;
}

/** A task as its submitter gives it. */
export type NewLayerTask<H extends LayerHandler> = Omit<LayerTasks[H], "credits">;

/** What is known of a layer's task besides the task itself. */
interface Underway {
  readonly handler: LayerHandler;
  readonly onEvent: (event: unknown) => void;
}

/**
 * Imports layers on workers and on this thread, which is one of those that work because a worker
 * costs its start-up and the warming up of its code. A thread that has no layer of its own takes
 * batches of files off the others.
 */
export class LayerPool implements AsyncDisposable {
  readonly #threads: number;
  readonly #busy: boolean;
  readonly #pool: Pool;
  readonly #signal: AbortSignal;
  readonly #progress: ProgressSink;
  readonly #credits = new SharedArrayBuffer(4);
  readonly #count = new Int32Array(this.#credits);
  /** The layers under way, by the task that a message is. */
  readonly #underway = new Map<LayerTarget, Underway>();
  #layers = 0;
  #idle = 0;
  #busyHere = false;
  /** Why a batch failed; more telling than what the layer's import then says. */
  failure: ComposefsError | undefined;

  /** Creates the pool; workers are started when there is work for them. */
  constructor(options: LayerPoolOptions = {}) {
    this.#threads = Math.max(1, options.jobs ?? navigator.hardwareConcurrency);
    this.#busy = options.busy ?? false;
    this.#signal = options.signal ?? new AbortController().signal;
    this.#progress = options.progress ?? (() => {});
    this.#pool = new Pool(new URL("./layer_worker.ts", import.meta.url), {
      size: this.#busy ? this.#threads : this.#threads - 1,
      signal: this.#signal,
    });
  }

  /** Starts the workers now, while this thread does something else. */
  warm(): void {
    this.#pool.warm();
  }

  /** Threads that work. */
  get threads(): number {
    return this.#threads;
  }

  /**
   * Imports one layer; give the largest first.
   *
   * @param handler how its bytes are come by
   * @param layer.id what progress events call the layer
   * @param layer.total bytes that progress events count up to
   */
  async import<H extends LayerHandler>(
    handler: H,
    task: NewLayerTask<H>,
    layer: { id: string; total: number },
  ): Promise<ImportedLayer> {
    const { id, total } = layer;
    const message = { ...task, credits: this.#credits } as LayerTarget;
    const onEvent = (event: unknown) => this.#receive(event as LayerEvent, { task: message, id });
    this.#layers++;
    this.#grant();
    this.#underway.set(message, { handler, onEvent });
    this.#progress({ type: "started", id, unit: "bytes", total });
    try {
      const imported = this.#pool.run<ImportedLayer>(handler, message, { onEvent });
      void this.#help();
      const result = await imported;
      this.#progress({ type: "done", id, transferred: total });
      return result;
    } finally {
      this.#underway.delete(message);
      this.#layers--;
      this.#grant();
    }
  }

  /** Imports on this thread what no worker has taken, until nothing is left. */
  async #help(): Promise<void> {
    if (this.#busy || this.#busyHere) return;
    this.#busyHere = true;
    await null; // whoever submits several layers at once gets them all in first
    for (;;) {
      let work: Promise<ImportedLayer> | undefined;
      const take = (task: LayerTarget) => work = this.#importHere(task);
      // The last one that was submitted, whatever its handler: they are the smallest.
      Object.keys(LAYER_HANDLERS).some((handler) => this.#pool.steal(take, handler));
      if (work === undefined) break;
      await work.catch(() => {}); // thrown where it was submitted
    }
    this.#busyHere = false;
    this.#takeBatches();
  }

  #importHere(task: LayerTarget): Promise<ImportedLayer> {
    const { handler, onEvent } = this.#underway.get(task)!;
    const context = { signal: this.#signal, emit: onEvent, transfer: () => {} };
    // The task was submitted for this handler.
    const run = LAYER_HANDLERS[handler] as (
      task: LayerTarget,
      context: TaskContext,
      beforeWait: () => void,
    ) => Promise<ImportedLayer>;
    return run(task, context, () => this.#takeBatches());
  }

  /** Stores here the batches that no worker has started. */
  #takeBatches(): void {
    while (this.#pool.steal(storeBatch, "store-batch"));
  }

  #receive(event: LayerEvent, layer: { task: LayerTarget; id: string }): void {
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
