/** Requests that survive what networks do (spec: ostree 8.5). */
import { ComposefsError } from "../base/mod.ts";
import { AnswerExchange, type RequestOptions } from "./answer.ts";
import { type BodyReceiver, bytesReceiver } from "./body.ts";
import { Download } from "./download.ts";
import { HttpError, statusError } from "./error.ts";
import type { AnswerHead, Exchange, HttpAnswer, HttpRequest, Incoming } from "./exchange.ts";
import { Gate } from "./gate.ts";
import { RateLimit } from "./limit.ts";
import { isPassing, parseRetryAfter, pauseBefore, type RetryOptions, sleep } from "./retry.ts";
import { Sender, type SenderOptions } from "./sender.ts";
import { StallWatch, type WatchedRequest, type WatchOptions } from "./watch.ts";

/** Requests to one host at a time, unless said otherwise. */
export const DEFAULT_REQUESTS = 16;
/** Largest document that is read without another limit, in bytes. */
export const MAX_DOCUMENT = 64 * 1024;

/** Part of an error's body that is kept, in bytes. */
const MAX_ERROR_BODY = 16 * 1024;
/** How often in a row an exchange may ask again in another way. */
const MAX_TURNS = 4;

/** How a client talks to servers. */
export interface HttpClientOptions extends SenderOptions, RetryOptions, WatchOptions {
  /** Requests to one host at a time. @default 16 */
  readonly requests?: number;
  /** Most bytes a second, over all requests. */
  readonly limitRate?: number;
  /** Gives up everything when aborted. */
  readonly signal?: AbortSignal;
}

/** How one document is fetched. */
export interface GetOptions {
  /** Largest body in bytes. @default 65536 */
  readonly maxSize?: number;
  /** Asks for the document only when it has another one by now. */
  readonly etag?: string;
  /** Asks for the document only when it is newer, as `Last-Modified` gave it. */
  readonly lastModified?: string;
  /** Whether the answer may be packed for the transport. @default false */
  readonly packed?: boolean;
}

/** A document, or that it is still the same. */
export interface HttpDocument {
  /** Its bytes; `undefined` when it did not change. */
  readonly bytes: Uint8Array | undefined;
  /** Its tag; empty when it has none. */
  readonly etag: string;
  /** When it changed; empty when the server does not say. */
  readonly lastModified: string;
  /** The server's clock; empty when it does not say. */
  readonly date: string;
}

/** Fetches documents and objects; holds connections, so it is to be closed. */
export class HttpClient implements Disposable {
  readonly #sender: Sender;
  readonly #options: HttpClientOptions;
  readonly #gates = new Map<string, Gate>();
  readonly #watch: StallWatch;
  readonly #limit: RateLimit | undefined;

  /** Prepares connections; none is made yet. */
  constructor(options: HttpClientOptions = {}) {
    this.#options = options;
    this.#watch = new StallWatch(options);
    this.#limit = options.limitRate === undefined ? undefined : new RateLimit(options.limitRate);
    this.#sender = new Sender(options, options.requests ?? DEFAULT_REQUESTS);
  }

  /** Requests to one host at a time. */
  get requests(): number {
    return this.#options.requests ?? DEFAULT_REQUESTS;
  }

  /**
   * Fetches a document as a whole.
   *
   * @throws {HttpError} when the server refuses or cannot be reached, after all tries
   */
  async get(url: URL, options: GetOptions = {}): Promise<HttpDocument> {
    const headers: Record<string, string> = {};
    if (options.packed !== true) headers["accept-encoding"] = "identity";
    if (options.etag) headers["if-none-match"] = options.etag;
    else if (options.lastModified) headers["if-modified-since"] = options.lastModified;
    const maxSize = options.maxSize ?? MAX_DOCUMENT;
    const download = new Download(url, bytesReceiver(url, maxSize), { maxSize, headers });
    await this.run(url, download);
    const { answer } = download;
    return {
      bytes: download.unchanged ? undefined : download.result,
      etag: answer.get("etag") ?? "",
      lastModified: answer.get("last-modified") ?? "",
      date: answer.get("date") ?? "",
    };
  }

  /**
   * Fetches a body as it is, whatever its size. What was cut off goes on where it stopped when the
   * server says that it is still the same; otherwise the receiver opens another sink.
   *
   * @returns what the receiver made of it
   * @throws {HttpError} as {@linkcode HttpClient.get}; what the receiver throws passes through
   */
  async download<T>(
    url: URL,
    receiver: BodyReceiver<T>,
    options: { maxSize?: number; signal?: AbortSignal } = {},
  ): Promise<T> {
    const download = new Download(url, receiver, {
      maxSize: options.maxSize ?? Number.MAX_SAFE_INTEGER,
      headers: { "accept-encoding": "identity" },
    });
    await this.run(url, download, options.signal);
    return download.result;
  }

  /**
   * Asks a server for something, and takes whatever it answers, other than for passing troubles.
   *
   * @throws {HttpError} when the server cannot be reached or remains in trouble, after all tries
   */
  async request(url: URL, options: RequestOptions = {}): Promise<HttpAnswer> {
    const exchange = new AnswerExchange(url, options);
    await this.run(url, exchange, options.signal);
    return exchange.answer;
  }

  /**
   * Does an exchange: asks until it is done, and tries again after troubles that may pass.
   *
   * @param own gives it up when aborted, in place of the client's signal
   * @throws {HttpError} as {@linkcode HttpClient.get}; what the exchange throws passes through
   */
  async run(url: URL, exchange: Exchange & Partial<Disposable>, own?: AbortSignal): Promise<void> {
    const signal = own ?? this.#options.signal;
    const { retries = 5, backoff = 500 } = this.#options;
    const gate = this.#gate(url);
    using stack = new DisposableStack();
    stack.defer(() => exchange[Symbol.dispose]?.());
    let most = exchange.received;
    for (let tries = 0, turns = 0;;) {
      const request = await exchange.request();
      let failure: Failure | undefined;
      await gate.enter();
      try {
        signal?.throwIfAborted();
        failure = await this.#attempt(url, { exchange, request, signal });
      } finally {
        gate.leave();
      }
      if (failure === undefined) return;
      const { error, head, retryAfter, passing } = failure;
      if (head !== undefined && turns < MAX_TURNS && await exchange.again?.(head, error)) {
        turns++;
        continue;
      }
      if (!passing || exchange.once) throw error;
      // As long as more arrives than ever before the server is worth its while.
      if (exchange.worthResuming && exchange.received > most) tries = turns = 0;
      most = Math.max(most, exchange.received);
      if (tries >= retries) throw error;
      const pause = pauseBefore(tries++, { backoff, retryAfter });
      this.#options.onRetry?.({ reason: error, pause });
      await sleep(pause, signal);
    }
  }

  #gate(url: URL): Gate {
    let gate = this.#gates.get(url.host);
    if (gate === undefined) this.#gates.set(url.host, gate = new Gate(this.requests));
    return gate;
  }

  /** Tries once; returns the trouble, or throws what no other try will help against. */
  async #attempt(
    url: URL,
    { exchange, request, signal }: {
      exchange: Exchange;
      request: HttpRequest;
      signal: AbortSignal | undefined;
    },
  ): Promise<Failure | undefined> {
    const size = request.body?.length ?? 0;
    const pause = size === 0 ? undefined : this.#limit?.take(size, signal);
    if (pause !== undefined) await pause;
    const watched = this.#watch.start(signal, size);
    try {
      const { response, url: from } = await this.#sender.send(url, request, watched.signal);
      const { status, headers } = response;
      if (!exchange.accepts(status)) {
        const retryAfter = parseRetryAfter(headers.get("retry-after"));
        const error = statusError(url, response, await beginning(response));
        const head = { status, headers, url: from };
        return { error, head, retryAfter, passing: isPassing(status) };
      }
      const count = (bytes: number) => this.#count(bytes, watched, signal);
      await exchange.receive(response, count, from);
      return undefined;
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      if (cause instanceof ComposefsError && !watched.stalled) throw cause;
      // The runtime says with a type error that a connection failed or ended early.
      if (!(cause instanceof TypeError || isNetworkError(cause)) && !watched.stalled) throw cause;
      const detail = watched.stalled ? "no data" : detailOf(cause);
      return transportFailure(url, detail, this.#sender.proxyFor(url));
    } finally {
      watched.end();
    }
  }

  #count(
    bytes: number,
    watched: WatchedRequest,
    signal: AbortSignal | undefined,
  ): Promise<void> | undefined {
    watched.count(bytes);
    const pause = this.#limit?.take(bytes, signal);
    return pause === undefined ? undefined : watched.hold(pause);
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#sender[Symbol.dispose]();
  }
}

/** Why a try failed. */
interface Failure {
  readonly error: HttpError;
  /** The answer, when there was one. */
  readonly head?: AnswerHead;
  readonly retryAfter?: number | undefined;
  /** Whether it may pass. */
  readonly passing: boolean;
}

/** The first part of an error's body; what cannot be read of it is left out. */
async function beginning(response: Incoming): Promise<string> {
  const buffer = new Uint8Array(MAX_ERROR_BODY);
  let size = 0;
  if (response.body !== null) {
    for await (const piece of response.body) {
      const part = piece.subarray(0, buffer.length - size);
      buffer.set(part, size);
      size += part.length;
      // Leaving the loop early cancels the body.
      if (size === buffer.length) break;
    }
  }
  return new TextDecoder().decode(buffer.subarray(0, size));
}

function transportFailure(url: URL, detail: string, proxy: string | undefined): Failure {
  // Without the runtime's error as cause: that repeats the URL with all that is secret in it.
  const way = proxy === undefined ? "" : ` through proxy ${proxy}`;
  const error = new HttpError(url, `Request failed${way}: ${detail.slice(0, 300)}`);
  return { error, passing: !/certificate|UnknownIssuer/i.test(detail) };
}

/** What the runtime says of a failed request: the innermost cause, without the URL before it. */
function detailOf(cause: unknown): string {
  let at = cause;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return String((at as Error).message).replace(/^error sending request.*?\): /s, "");
}

function isNetworkError(cause: unknown): boolean {
  const { Http, ConnectionReset, ConnectionRefused, ConnectionAborted, BrokenPipe } = Deno.errors;
  const { TimedOut, UnexpectedEof } = Deno.errors;
  return [
    Http,
    ConnectionReset,
    ConnectionRefused,
    ConnectionAborted,
    BrokenPipe,
    TimedOut,
    UnexpectedEof,
  ].some((kind) => cause instanceof kind);
}
