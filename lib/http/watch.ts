/** Ends requests that have come to a halt (spec: ostree 8.5). */

/** When a request counts as halted. */
export interface WatchOptions {
  /** Milliseconds over which the speed is taken. @default 30000 */
  readonly stall?: number;
  /** Bytes a second below which a request is ended. @default 1000 */
  readonly minSpeed?: number;
}

/** Bytes a second that bodies of requests take at least; they go unseen. */
const LEAST_SENT = 8 * 1024;

/** Looks at all requests under way a few times per span. */
export class StallWatch implements Disposable {
  readonly #span: number;
  readonly #least: number;
  readonly #active = new Set<WatchedRequest>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Starts without requests. */
  constructor(options: WatchOptions) {
    this.#span = options.stall ?? 30_000;
    this.#least = (options.minSpeed ?? 1000) * this.#span / 1000;
  }

  /**
   * Watches a request until its end is told; `signal` ends it, too.
   *
   * @param size bytes that are sent before anything comes back
   */
  start(signal: AbortSignal | undefined, size = 0): WatchedRequest {
    this.#timer ??= setInterval(() => this.#look(), this.#span / 4);
    const request = new WatchedRequest(signal, (ended) => this.#active.delete(ended));
    if (size > 0) request.grant(size / LEAST_SENT * 1000);
    this.#active.add(request);
    return request;
  }

  #look(): void {
    const now = performance.now();
    for (const request of this.#active) request.look(now, this.#span, this.#least);
  }

  /** Stops looking. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** One request under way. */
export class WatchedRequest {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #ended: (request: WatchedRequest) => void;
  readonly #abort = () => this.#controller.abort(this.#outer?.reason);
  #since = performance.now();
  #bytes = 0;
  #stalled = false;
  #held = false;

  /** Starts the clock. */
  constructor(outer: AbortSignal | undefined, ended: (request: WatchedRequest) => void) {
    this.#outer = outer;
    this.#ended = ended;
    if (outer?.aborted) this.#abort();
    else outer?.addEventListener("abort", this.#abort, { once: true });
  }

  /** Aborted when the request halts or is given up. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether it was ended because it halted. */
  get stalled(): boolean {
    return this.#stalled;
  }

  /** Tells that bytes have arrived. */
  count(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Begins the next span later, by these milliseconds. */
  grant(milliseconds: number): void {
    this.#since += milliseconds;
  }

  /** Waits for something that is no fault of the server's. */
  async hold(pause: Promise<void>): Promise<void> {
    this.#held = true;
    try {
      await pause;
    } finally {
      this.#held = false;
      this.#since = performance.now();
      this.#bytes = 0;
    }
  }

  /** Ends the request when too little came in the last span. */
  look(now: number, span: number, least: number): void {
    if (this.#held || now - this.#since < span) return;
    if (this.#bytes >= least) {
      this.#since = now;
      this.#bytes = 0;
      return;
    }
    this.#stalled = true;
    this.#controller.abort();
  }

  /** Tells that the request is over. */
  end(): void {
    this.#outer?.removeEventListener("abort", this.#abort);
    this.#ended(this);
  }
}
