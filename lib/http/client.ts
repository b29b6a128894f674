/** Requests that survive what networks do (spec: ostree 8.5). */
import { ComposefsError, InvalidNameError } from "../base/mod.ts";
import { type BodyReceiver, bytesReceiver } from "./body.ts";
import { type Cookie, cookieHeader } from "./cookies.ts";
import { Download } from "./download.ts";
import { HttpError, statusError } from "./error.ts";
import { Gate } from "./gate.ts";
import { isPassing, parseRetryAfter, pauseBefore, type RetryOptions, sleep } from "./retry.ts";
import { StallWatch, type WatchOptions } from "./watch.ts";

const MAX_REDIRECTS = 10;
/** Requests to one host at a time, unless said otherwise. */
export const DEFAULT_REQUESTS = 16;
/** Largest document that is read without another limit, in bytes. */
export const MAX_DOCUMENT = 64 * 1024;

/** How a client talks to servers. */
export interface HttpClientOptions extends RetryOptions, WatchOptions {
  /** `User-Agent` of the requests. */
  readonly userAgent?: string;
  /** Requests to one host at a time. @default 16 */
  readonly requests?: number;
  /** Certificates (PEM) of authorities that are trusted besides the system's. */
  readonly caCerts?: readonly string[];
  /** Certificate chain and key (PEM) that the client shows. */
  readonly clientCert?: { readonly cert: string; readonly key: string };
  /** URL of a proxy, with its user and password if it wants them. */
  readonly proxy?: string;
  /** Whether HTTP/2 may be used. @default true */
  readonly http2?: boolean;
  /** Cookies, sent only to their own hosts. */
  readonly cookies?: readonly Cookie[];
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

/** What one request is made of. */
export interface RequestHead {
  /** Headers of the request. */
  readonly headers: Record<string, string>;
  /** Gives this request up. */
  readonly signal: AbortSignal;
}

/** Fetches documents and objects; holds connections, so it is to be closed. */
export class HttpClient implements Disposable {
  readonly #native: Deno.HttpClient;
  readonly #options: HttpClientOptions;
  readonly #gates = new Map<string, Gate>();
  readonly #credentials = new Map<string, string>();
  readonly #watch: StallWatch;

  /** Prepares connections; none is made yet. */
  constructor(options: HttpClientOptions = {}) {
    this.#options = options;
    this.#watch = new StallWatch(options);
    const { caCerts, clientCert, proxy } = options;
    this.#native = Deno.createHttpClient({
      ...(caCerts === undefined ? {} : { caCerts: [...caCerts] }),
      ...clientCert,
      ...(proxy === undefined ? {} : { proxy: proxyOf(proxy) }),
      poolMaxIdlePerHost: options.requests ?? DEFAULT_REQUESTS,
      http2: options.http2 ?? true,
    });
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
    await this.#run(url, download);
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
    await this.#run(url, download, options.signal);
    return download.result;
  }

  async #run<T>(url: URL, download: Download<T>, own?: AbortSignal): Promise<void> {
    const signal = own ?? this.#options.signal;
    const { retries = 5, backoff = 500 } = this.#options;
    let gate = this.#gates.get(url.host);
    if (gate === undefined) this.#gates.set(url.host, gate = new Gate(this.requests));
    using _download = download;
    for (let tries = 0;;) {
      await gate.enter();
      const before = download.received;
      let failure: Passing | undefined;
      try {
        signal?.throwIfAborted();
        failure = await this.#attempt(url, download, signal);
      } finally {
        gate.leave();
      }
      if (failure === undefined) return;
      // As long as pieces arrive the server is worth its while.
      if (download.worthResuming && download.received > before) tries = 0;
      if (tries >= retries) throw failure.error;
      const { retryAfter } = failure;
      await sleep(pauseBefore(tries++, { backoff, retryAfter }), signal);
    }
  }

  /** Tries once; returns a trouble that may pass, throws what will not. */
  async #attempt<T>(
    url: URL,
    download: Download<T>,
    signal: AbortSignal | undefined,
  ): Promise<Passing | undefined> {
    const watched = this.#watch.start(signal);
    try {
      const response = await this.#send(url, {
        headers: download.requestHeaders(),
        signal: watched.signal,
      });
      if (!download.accepts(response.status)) {
        const retryAfter = parseRetryAfter(response.headers.get("retry-after"));
        await response.body?.cancel();
        const error = statusError(url, response);
        if (download.refusedRange(response.status)) return { error, retryAfter };
        if (!isPassing(response.status)) throw error;
        return { error, retryAfter };
      }
      await download.receive(response, (count) => watched.count(count));
      return undefined;
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      if (cause instanceof ComposefsError && !watched.stalled) throw cause;
      // The runtime says with a type error that a connection failed or ended early.
      if (!(cause instanceof TypeError || isNetworkError(cause)) && !watched.stalled) throw cause;
      return transportFailure(url, watched.stalled ? "no data" : detailOf(cause));
    } finally {
      watched.end();
    }
  }

  /** Sends one request and follows redirects. */
  async #send(start: URL, head: RequestHead): Promise<Response> {
    let url = start;
    for (let hops = 0;; hops++) {
      const response = await fetch(this.#plain(url), {
        client: this.#native,
        headers: this.#headers(url, head.headers),
        redirect: "manual",
        signal: head.signal,
      });
      const { status } = response;
      const location = response.headers.get("location");
      const redirected = status > 300 && status < 309 && status !== 304 && location !== null;
      if (!redirected) return response;
      await response.body?.cancel();
      if (hops >= MAX_REDIRECTS) throw new HttpError(start, "Too many redirects", { status });
      const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
      if (next === undefined || !/^https?:$/.test(next.protocol)) {
        throw new HttpError(start, "Redirected to something that is no HTTP URL", { status });
      }
      if (url.protocol === "https:" && next.protocol === "http:") {
        throw new HttpError(start, "Redirected from https to http", { status });
      }
      // What a redirect says about users and passwords is not ours to send.
      next.username = next.password = "";
      url = next;
    }
  }

  /** The URL without user and password, which from now on belong to its origin. */
  #plain(url: URL): URL {
    if (url.username === "" && url.password === "") return url;
    const plain = new URL(url);
    plain.username = plain.password = "";
    this.#credentials.set(plain.origin, basicAuth(url));
    return plain;
  }

  #headers(url: URL, own: Record<string, string>): Record<string, string> {
    const headers = { ...own };
    const { userAgent, cookies } = this.#options;
    if (userAgent !== undefined) headers["user-agent"] = userAgent;
    const credentials = this.#credentials.get(url.origin);
    if (credentials !== undefined) headers["authorization"] = credentials;
    const cookie = cookies === undefined ? undefined : cookieHeader(cookies, url);
    if (cookie !== undefined) headers["cookie"] = cookie;
    return headers;
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#native.close();
  }
}

/** A trouble that may pass. */
interface Passing {
  readonly error: HttpError;
  readonly retryAfter?: number | undefined;
}

function transportFailure(url: URL, detail: string): Passing {
  // Without the runtime's error as cause: that repeats the URL with all that is secret in it.
  const error = new HttpError(url, `Request failed: ${detail.slice(0, 300)}`);
  if (/certificate|UnknownIssuer/i.test(detail)) throw error;
  return { error };
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

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    // Not escaped the way URLs are: then it stands for itself.
    if (!(error instanceof URIError)) throw error;
    return text;
  }
}

function basicAuth(url: URL): string {
  const pair = `${decoded(url.username)}:${decoded(url.password)}`;
  return "Basic " + new TextEncoder().encode(pair).toBase64();
}

function proxyOf(text: string): Deno.Proxy {
  const url = parseUrl(text);
  const basic = { username: decoded(url.username), password: decoded(url.password) };
  const named = url.username !== "";
  url.username = url.password = "";
  return { transport: "http", url: url.href, ...(named ? { basicAuth: basic } : {}) } as Deno.Proxy;
}

/**
 * Parses an HTTP URL.
 *
 * @throws {InvalidNameError} when it is none
 */
export function parseUrl(text: string): URL {
  if (!URL.canParse(text)) throw new InvalidNameError("relative URL without a base");
  const url = new URL(text);
  if (!/^https?:$/.test(url.protocol)) {
    throw new InvalidNameError(`URL scheme '${url.protocol.slice(0, -1)}' is not supported`);
  }
  return url;
}
