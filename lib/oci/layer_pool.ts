import {
  type ComposefsError,
  type ObjectId,
  Pool,
  type ProgressSink,
  type TaskContext,
} from "../base/mod.ts";
import type { Arrival } from "../transport/mod.ts";
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
   * Whether this thread receives the layers: it joins in the work only while none is arriving.
   *
   * @default false
   */
  receives?: boolean;
}

/** What is told about a layer's task besides the task itself. */
export interface LayerTaskInfo {
  /** What progress events call the layer. */
  id: string;
  /** Bytes that progress events count up to. */
  total: number;
  /**
   * Whether anything that the task waits for is still to be received by this thread: an arrival, or
   * `true` for what does not say. @default true
   */
  arrives?: Arrival | boolean;
}

/** A task as its submitter gives it. */
export type NewLayerTask<H extends LayerHandler> = Omit<LayerTasks[H], "credits">;

/** What is known of a layer's task besides the task itself. */
interface Underway {
  readonly handler: LayerHandler;
  readonly onEvent: (event: unknown) => void;
  readonly arrives: Arrival | boolean;
}

/**
 * Imports layers on workers and on this thread, which is one of those that work because a worker
 * costs its start-up and the warming up of its code. A thread that has no layer of its own takes
 * batches of files off the others.
 */
export class LayerPool implements AsyncDisposable {
  readonly #threads: number;
  readonly #receives: boolean;
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
    this.#receives = options.receives ?? false;
    this.#signal = options.signal ?? new AbortController().signal;
    this.#progress = options.progress ?? (() => {});
    this.#pool = new Pool(new URL("./layer_worker.ts", import.meta.url), {
      // Who receives can work for nobody else at times, so there is somebody else.
      size: this.#receives ? Math.max(1, this.#threads - 1) : this.#threads - 1,
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
   */
  async import<H extends LayerHandler>(
    handler: H,
    task: NewLayerTask<H>,
    layer: LayerTaskInfo,
  ): Promise<ImportedLayer> {
    const { id, total, arrives = true } = layer;
    const message = { ...task, credits: this.#credits } as LayerTarget;
    const onEvent = (event: unknown) => this.#receive(event as LayerEvent, { task: message, id });
    this.#layers++;
    this.#grant();
    this.#underway.set(message, { handler, onEvent, arrives });
    this.#progress({ type: "started", id, unit: "bytes", total });
    try {
      const imported = this.#pool.run<ImportedLayer>(handler, message, { onEvent });
      void this.#help();
      if (typeof arrives === "object") void arrives.over.then(() => this.#help());
      const result = await imported;
      this.#progress({ type: "done", id, transferred: total });
      return result;
    } finally {
      this.#underway.delete(message);
      this.#layers--;
      this.#grant();
      if (this.#receives) void this.#help();
    }
  }

  /** Whether this thread may be kept from receiving: nothing is arriving. */
  #mayBlock(): boolean {
    if (!this.#receives) return true;
    if (this.#threads === 1) return false;
    return this.#underway.values().every(({ arrives }) =>
      typeof arrives === "object" ? arrives.isOver : !arrives
    );
  }

  /** Imports on this thread what no worker has taken, until nothing is left. */
  async #help(): Promise<void> {
    if (this.#busyHere || !this.#mayBlock()) return;
    this.#busyHere = true;
    await null; // whoever submits several layers at once gets them all in first
    while (this.#mayBlock()) {
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
    const { memory, count, turn } = event;
    const { objects } = layer.task;
    const batch: BatchTask = { memory, count, turn, objects, credits: this.#credits };
    this.#pool.run<ObjectId[]>("store-batch", batch).then(
      (repaired) => {
        for (const object of repaired) {
          this.#progress({ type: "warning", text: `repaired damaged object ${object}` });
        }
      },
      (error: ComposefsError) => {
        // The layer's thread waits for the batch: it fails, and the reason is kept for the caller.
        this.failure ??= error;
        new Batch(memory).fail(turn);
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
