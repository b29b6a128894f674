import { ComposefsError } from "./errors.ts";
import type { FromWorker, ToWorker } from "./pool_worker.ts";
import { decodeError } from "./wire_error.ts";

/** How a pool works. */
export interface PoolOptions {
  /**
   * Most workers at a time; with 0 there are none, and tasks wait for {@linkcode Pool.steal}.
   *
   * @default navigator.hardwareConcurrency
   */
  size?: number;
  /**
   * Tasks that one worker holds, the running one included. More than 1 keeps workers busy while
   * the submitting thread is; 1 balances better when tasks are few and big. @default 1
   */
  depth?: number;
  /** Tasks that may wait for a worker before {@linkcode Pool.ready} makes callers wait. @default size */
  queue?: number;
  /** Gives up everything when aborted. */
  signal?: AbortSignal;
}

/** How one task is submitted. */
export interface TaskOptions {
  /** Buffers that move to the worker instead of being copied. */
  transfer?: Transferable[];
  /** Gives this task up: at once while it waits, else as soon as its handler notices. */
  signal?: AbortSignal;
  /** Receives what the handler emits. */
  onEvent?: (event: unknown) => void;
}

interface Task {
  readonly id: number;
  readonly handler: string;
  readonly message: unknown;
  readonly options: TaskOptions;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  cleanup: () => void;
}

interface Slot {
  readonly worker: Worker;
  readonly tasks: Map<number, Task>;
  /** Number of tasks that were ever posted to it. */
  posted: number;
  /** Number of those that it is done with; in shared memory, so known before the results are. */
  readonly done: Int32Array;
}

/** Tasks that a worker has to do. */
function load(slot: Slot): number {
  return slot.posted - Atomics.load(slot.done, 0);
}

/**
 * A pool of workers that all run one module. Workers are started when there is work for them and
 * live until the pool is closed; an open pool keeps the process alive, so hold it with
 * `await using`.
 *
 * The worker module registers what it can do with {@linkcode handle} (see there for a template) and
 * is named by a URL, so that it is found over http and in compiled programs (which need it in
 * `--include`):
 *
 * ```ts ignore
 * await using pool = new Pool(new URL("./count_worker.ts", import.meta.url), { size: 2 });
 * const lines = await pool.run<number>("count", bytes, { transfer: [bytes.buffer] });
 * for await (const count of pool.map<Uint8Array, number>("count", chunks)) total += count;
 * ```
 *
 * A task that has reached a worker settles only when the worker is done with it, aborted or not:
 * descriptors and buffers lent to it may be released from then on.
 */
export class Pool implements AsyncDisposable {
  readonly #module: URL;
  readonly #size: number;
  readonly #depth: number;
  readonly #limit: number;
  readonly #slots: Slot[] = [];
  readonly #waiting: Task[] = [];
  readonly #readers: (() => void)[] = [];
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#giveUp(this.#signal?.reason);
  #nextId = 0;
  #closed = false;
  #idle: (() => void) | undefined;

  /**
   * Creates a pool; nothing is started yet.
   *
   * @param module URL of the worker module
   */
  constructor(module: URL, options: PoolOptions = {}) {
    this.#module = module;
    this.#size = Math.max(0, options.size ?? navigator.hardwareConcurrency);
    this.#depth = Math.max(1, options.depth ?? 1);
    this.#limit = Math.max(1, options.queue ?? this.#size);
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this.#onAbort);
  }

  /** Most workers at a time. */
  get size(): number {
    return this.#size;
  }

  /** Tasks that no worker has yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Starts all workers now, so that their start-up overlaps with other work. */
  warm(): void {
    while (!this.#closed && this.#slots.length < this.#size) this.#start();
  }

  /**
   * Submits a task.
   *
   * @param handler name of the handler in the worker module
   * @param message its input, structured-clonable
   * @returns what the handler returned
   * @throws what the handler threw, as the same kind of error
   * @throws {DOMException} `AbortError` (or the signal's reason) when given up or the pool is closed
   */
  run<R>(handler: string, message: unknown, options: TaskOptions = {}): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      const aborted = [this.#signal, options.signal].find((signal) => signal?.aborted);
      if (aborted !== undefined) return reject(aborted.reason);
      if (this.#closed) return reject(closedError());
      const task: Task = {
        id: this.#nextId++,
        handler,
        message,
        options,
        resolve: resolve as (result: unknown) => void,
        reject,
        cleanup: () => {},
      };
      if (options.signal !== undefined) this.#watch(task, options.signal);
      this.#waiting.push(task);
      this.#dispatch();
    });
  }

  /** Waits until fewer than the allowed number of tasks wait for a worker. */
  async ready(): Promise<void> {
    while (this.#waiting.length >= this.#limit) {
      await new Promise<void>((resolve) => this.#readers.push(resolve));
    }
  }

  /**
   * Takes back the task that was submitted last and has not reached a worker, so that the
   * submitting thread can do it itself when it has nothing else to do; the task's promise is
   * settled with what `work` returns or throws.
   *
   * @param handler takes only a task for this handler, when given
   * @returns false when no such task waits
   */
  steal<M, R>(work: (message: M) => R, handler?: string): boolean {
    this.#dispatch(); // a worker may be done whose result has not been let in
    const wanted = (task: Task) => handler === undefined || task.handler === handler;
    const at = this.#waiting.findLastIndex(wanted);
    if (at < 0) return false;
    const [task] = this.#waiting.splice(at, 1) as [Task];
    task.cleanup();
    try {
      task.resolve(work(task.message as M));
    } catch (error) {
      task.reject(error);
    }
    this.#wake();
    return true;
  }

  /**
   * Submits a task for each item, a bounded number of them ahead.
   *
   * @yields results in the order of the items
   * @throws the first failure, after the tasks that were under way have ended
   */
  async *map<T, R>(
    handler: string,
    items: Iterable<T> | AsyncIterable<T>,
    options: { transfer?: (item: T) => Transferable[]; signal?: AbortSignal } = {},
  ): AsyncGenerator<R, void, undefined> {
    const ahead: Promise<R>[] = [];
    const window = this.#size * this.#depth + this.#limit;
    const { signal, transfer } = options;
    try {
      for await (const item of items) {
        const promise = this.run<R>(handler, item, {
          ...(transfer === undefined ? {} : { transfer: transfer(item) }),
          ...(signal === undefined ? {} : { signal }),
        });
        promise.catch(() => {}); // seen when its turn comes; not unhandled until then
        ahead.push(promise);
        if (ahead.length >= window) yield await ahead.shift()!;
      }
      while (ahead.length > 0) yield await ahead.shift()!;
    } finally {
      await Promise.allSettled(ahead);
    }
  }

  /**
   * Gives waiting tasks up, lets running ones end, and stops the workers; a second call does
   * nothing more.
   */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#signal?.removeEventListener("abort", this.#onAbort);
      this.#giveUp(closedError());
    }
    if (this.#slots.some((slot) => slot.tasks.size > 0)) {
      await new Promise<void>((resolve) => {
        const before = this.#idle;
        this.#idle = () => (before?.(), resolve());
      });
    }
    for (const slot of this.#slots.splice(0)) slot.worker.terminate();
  }

  /** Same as {@linkcode Pool.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #watch(task: Task, signal: AbortSignal): void {
    const onAbort = () => {
      const at = this.#waiting.indexOf(task);
      if (at >= 0) {
        this.#waiting.splice(at, 1);
        task.cleanup();
        task.reject(signal.reason);
        this.#wake();
      } else this.#cancel(task);
    };
    signal.addEventListener("abort", onAbort);
    task.cleanup = () => signal.removeEventListener("abort", onAbort);
  }

  #cancel(task: Task): void {
    const slot = this.#slots.find((one) => one.tasks.has(task.id));
    slot?.worker.postMessage({ type: "cancel", id: task.id } satisfies ToWorker);
  }

  #giveUp(reason: unknown): void {
    for (const task of this.#waiting.splice(0)) {
      task.cleanup();
      task.reject(reason);
    }
    for (const slot of this.#slots) {
      for (const task of slot.tasks.values()) this.#cancel(task);
    }
    this.#wake();
  }

  /** Lets the callers of `ready()` look again. */
  #wake(): void {
    for (const resolve of this.#readers.splice(0)) resolve();
  }

  #start(): Slot {
    const worker = new Worker(this.#module, { type: "module" });
    const done = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    worker.postMessage({ type: "start", done } satisfies ToWorker);
    const slot: Slot = { worker, tasks: new Map(), posted: 0, done: new Int32Array(done) };
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(slot, data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#lost(slot, `Worker ${this.#module} failed: ${event.message}`);
    };
    worker.onmessageerror = () => {
      this.#lost(slot, `Worker ${this.#module} sent an unreadable message`);
    };
    this.#slots.push(slot);
    return slot;
  }

  /** The worker for the next task: the least busy one, or a new one when all have something to do. */
  #choose(): Slot | undefined {
    let best: Slot | undefined;
    for (const slot of this.#slots) {
      if (best === undefined || load(slot) < load(best)) best = slot;
    }
    if (best !== undefined && load(best) === 0) return best;
    if (this.#slots.length < this.#size) return this.#start();
    return best !== undefined && load(best) < this.#depth ? best : undefined;
  }

  #dispatch(): void {
    for (let task = this.#waiting[0]; task !== undefined; task = this.#waiting[0]) {
      const slot = this.#choose();
      if (slot === undefined) return;
      this.#waiting.shift();
      const { id, handler, message } = task;
      try {
        slot.worker.postMessage(
          { type: "task", id, handler, message } satisfies ToWorker,
          task.options.transfer ?? [],
        );
      } catch (error) {
        // The message cannot be cloned: the submitter's mistake, so it gets the error.
        task.cleanup();
        task.reject(error);
        continue;
      }
      slot.posted++;
      slot.tasks.set(id, task);
      if (this.#waiting.length < this.#limit) this.#wake();
    }
  }

  #receive(slot: Slot, data: FromWorker): void {
    const task = slot.tasks.get(data.id);
    if (task === undefined) return;
    if (data.type === "event") {
      task.options.onEvent?.(data.event);
      return;
    }
    slot.tasks.delete(data.id);
    task.cleanup();
    this.#dispatch();
    if (data.type === "result") task.resolve(data.result);
    else {
      const aborted = [task.options.signal, this.#signal].find((signal) => signal?.aborted);
      const error = decodeError(data.error);
      task.reject(aborted !== undefined && error.name === "AbortError" ? aborted.reason : error);
    }
    this.#settleIdle();
  }

  /** A worker that died takes its tasks with it. */
  #lost(slot: Slot, message: string): void {
    const at = this.#slots.indexOf(slot);
    if (at >= 0) this.#slots.splice(at, 1);
    slot.worker.terminate();
    for (const task of slot.tasks.values()) {
      task.cleanup();
      task.reject(new ComposefsError("CFS_FAILED", message));
    }
    const hadTasks = slot.tasks.size > 0;
    slot.tasks.clear();
    // A module that cannot even be loaded would be started for ever; one that lost a task may go on.
    if (!hadTasks) this.#giveUp(new ComposefsError("CFS_FAILED", message));
    this.#dispatch();
    this.#settleIdle();
  }

  #settleIdle(): void {
    if (this.#idle === undefined || this.#slots.some((slot) => slot.tasks.size > 0)) return;
    const idle = this.#idle;
    this.#idle = undefined;
    idle();
  }
}

function closedError(): DOMException {
  return new DOMException("The worker pool was closed", "AbortError");
}
