/**
 * The worker's side of a {@linkcode Pool}: a worker module calls {@linkcode handle} for each kind of
 * task it can do, and nothing else is needed.
 *
 * ```ts ignore
 * // count_worker.ts
 * import { handle } from "../base/mod.ts";
 *
 * handle("count", (bytes: Uint8Array, { signal }): number => {
 *   signal.throwIfAborted();
 *   return bytes.filter((byte) => byte === 10).length;
 * });
 * ```
 *
 * Tasks of one worker run strictly one after the other, also when handlers are asynchronous, so
 * buffers at module level can be reused from task to task. What a handler throws arrives at the
 * caller as an error of the same class.
 *
 * @module
 */
import { encodeError, type WireError } from "./wire_error.ts";

/** What the pool posts to a worker. */
export type ToWorker =
  | { readonly type: "start"; readonly done: SharedArrayBuffer }
  | {
    readonly type: "task";
    readonly id: number;
    readonly handler: string;
    readonly message: unknown;
  }
  | { readonly type: "cancel"; readonly id: number };

/** What a worker posts to its pool. */
export type FromWorker =
  | { readonly type: "result"; readonly id: number; readonly result: unknown }
  | { readonly type: "failure"; readonly id: number; readonly error: WireError }
  | { readonly type: "event"; readonly id: number; readonly event: unknown };

/** What a handler can do besides returning its result. */
export interface TaskContext {
  /** Aborted when the caller gave up; only seen by handlers that await something. */
  readonly signal: AbortSignal;
  /** Sends a value (progress, a warning) to the caller's `onEvent` while the task goes on. */
  emit(event: unknown): void;
  /** Names buffers that move to the caller together with the result instead of being copied. */
  transfer(...buffers: ArrayBuffer[]): void;
}

/** Does one kind of task. */
export type Handler<M, R> = (message: M, context: TaskContext) => R | Promise<R>;

/** The part of a worker's global scope that is used here. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
}

const handlers = new Map<string, Handler<unknown, unknown>>();
const queue: Extract<ToWorker, { type: "task" }>[] = [];
const controllers = new Map<number, AbortController>();
let busy = false;
/** Number of tasks that are done: the pool sees it before it gets round to the results. */
let done: Int32Array | undefined;

/**
 * Registers the handler of a kind of task; for use at the top level of a worker module.
 *
 * @param name the name that {@linkcode Pool.run} is called with
 * @param handler does the task; message and result must be structured-clonable
 */
export function handle<M, R>(name: string, handler: Handler<M, R>): void {
  handlers.set(name, handler as Handler<unknown, unknown>);
  (globalThis as unknown as WorkerScope).onmessage = receive;
}

function receive({ data }: MessageEvent<ToWorker>): void {
  if (data.type === "start") {
    done = new Int32Array(data.done);
    return;
  }
  if (data.type === "cancel") {
    controllers.get(data.id)?.abort();
    return;
  }
  controllers.set(data.id, new AbortController());
  queue.push(data);
  if (!busy) void work();
}

async function work(): Promise<void> {
  const scope = globalThis as unknown as WorkerScope;
  busy = true;
  for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
    const { id } = task;
    const buffers: ArrayBuffer[] = [];
    let settled = false;
    // Before the message: the pool looks at the number when that comes.
    const settle = () => {
      if (!settled && done !== undefined) Atomics.add(done, 0, 1);
      settled = true;
    };
    const context: TaskContext = {
      signal: controllers.get(id)!.signal,
      emit: (event) => scope.postMessage({ type: "event", id, event }),
      transfer: (...more) => void buffers.push(...more),
    };
    try {
      context.signal.throwIfAborted();
      const handler = handlers.get(task.handler);
      if (handler === undefined) throw new TypeError(`No handler "${task.handler}" in this worker`);
      const result = await handler(task.message, context);
      settle();
      scope.postMessage({ type: "result", id, result }, buffers);
    } catch (error) {
      settle();
      // Not swallowed: it is thrown again where the task was submitted.
      scope.postMessage({ type: "failure", id, error: encodeError(error) });
    } finally {
      controllers.delete(id);
    }
  }
  busy = false;
}
