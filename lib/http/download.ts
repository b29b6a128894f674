/** One body on its way, over as many requests as it takes (spec: ostree 8.5). */
import { type BodyReceiver, type BodySink, tooLarge } from "./body.ts";
import type { ByteCounter, Exchange, HttpRequest, Incoming } from "./exchange.ts";

/** Bodies up to this size are handed over whole. */
const WHOLE = 256 * 1024;
/** A body is continued, not begun again, when more than this has arrived. */
const RESUME = 1024 * 1024;

/** What a download needs besides where and whereto. */
export interface DownloadOptions {
  /** Largest body in bytes. */
  readonly maxSize: number;
  /** Headers of every request. */
  readonly headers: Record<string, string>;
}

/** The state of one download between requests. */
export class Download<T> implements Exchange, Disposable {
  readonly #url: URL;
  readonly #receiver: BodyReceiver<T>;
  readonly #options: DownloadOptions;
  #sink: BodySink<T> | undefined;
  #received = 0;
  /** What tells that the body is still the same. */
  #validator = "";
  #total: number | undefined;
  #asked = false;
  /** Whether there is a beginning from an earlier time, which nothing vouches for. */
  #begun = false;
  #done: { readonly value: T } | undefined;
  #unchanged = false;
  #answer = new Headers();

  /** Starts with nothing. */
  constructor(url: URL, receiver: BodyReceiver<T>, options: DownloadOptions) {
    this.#url = url;
    this.#receiver = receiver;
    this.#options = options;
    const begun = receiver.kept?.();
    if (begun === undefined) return;
    this.#sink = begun.sink;
    this.#received = begun.received;
    this.#begun = true;
  }

  /** Bytes that have arrived. */
  get received(): number {
    return this.#received;
  }

  /** Whether the next request asks only for the rest. */
  get worthResuming(): boolean {
    if (this.#sink === undefined) return false;
    return this.#begun || (this.#received > RESUME && this.#validator !== "");
  }

  /** Whether the answer was that the document is the same as before. */
  get unchanged(): boolean {
    return this.#unchanged;
  }

  /** Headers of the answer. */
  get answer(): Headers {
    return this.#answer;
  }

  /** What the receiver made of the body. */
  get result(): T {
    return this.#done!.value;
  }

  /** The next request. */
  request(): HttpRequest {
    this.#asked = this.worthResuming;
    const { headers } = this.#options;
    if (!this.#asked) return { headers };
    const range = `bytes=${this.#received}-`;
    const asked: Record<string, string> = { ...headers, range };
    if (this.#validator !== "") asked["if-range"] = this.#validator;
    return { headers: asked };
  }

  /** Whether an answer with this status is one to {@linkcode Download.receive}. */
  accepts(status: number): boolean {
    if (status === 200 || (this.#asked && (status === 206 || status === 416))) return true;
    const { headers } = this.#options;
    return status === 304 && ("if-none-match" in headers || "if-modified-since" in headers);
  }

  /**
   * Takes the body of an answer.
   *
   * @param count told how many bytes have come
   * @throws {TypeError} when it ends early
   */
  async receive(response: Incoming, count: ByteCounter): Promise<void> {
    const { headers, status } = response;
    this.#answer = headers;
    if (status === 304) {
      await response.body?.cancel();
      this.#unchanged = true;
      return;
    }
    if (status === 416) {
      await response.body?.cancel();
      return this.#noRest(headers.get("content-range"));
    }
    const length = bodyLength(headers);
    if (status === 206) {
      if (!this.#continues(headers.get("content-range"))) {
        await response.body?.cancel();
        this.#restart();
        throw new TypeError("The server sent another part than was asked for");
      }
      if (this.#validator === "") this.#validator = validatorOf(headers);
    } else {
      this.#restart();
      this.#validator = validatorOf(headers);
      this.#total = length;
    }
    if (this.#total !== undefined && this.#total > this.#options.maxSize) {
      await response.body?.cancel();
      throw tooLarge(this.#url, this.#options.maxSize);
    }
    if (this.#sink === undefined && length !== undefined && this.#fits(length)) {
      const { borrows = false } = this.#receiver;
      const bytes = await (borrows && response.view ? response.view() : response.bytes());
      this.#received = bytes.length;
      this.#checkLength();
      // Before anything is waited for: what was borrowed does not last.
      this.#done = { value: this.#receiver.whole(bytes) };
      await count(bytes.length);
      return;
    }
    await this.#pieces(response, count);
  }

  #fits(length: number): boolean {
    return this.#receiver.fits?.(length) ?? length <= WHOLE;
  }

  async #pieces(response: Incoming, count: ByteCounter): Promise<void> {
    const sink = this.#sink ??= this.#receiver.open();
    const { maxSize } = this.#options;
    if (response.body !== null) {
      // Leaving the loop early cancels the body.
      for await (const piece of response.body) {
        const pause = count(piece.length);
        if (pause !== undefined) await pause;
        this.#received += piece.length;
        if (this.#received > maxSize) throw tooLarge(this.#url, maxSize);
        sink.write(piece);
      }
    }
    this.#checkLength();
    this.#done = { value: sink.finish() };
  }

  /** There is no rest: either all is there already, or it is of something else. */
  #noRest(range: string | null): void {
    const sink = this.#sink;
    if (sink === undefined || range !== `bytes */${this.#received}`) {
      this.#restart();
      throw new TypeError("The server has another body by now");
    }
    this.#done = { value: sink.finish() };
  }

  #checkLength(): void {
    if (this.#total === undefined || this.#received === this.#total) return;
    throw new TypeError(`The body ends after ${this.#received} of ${this.#total} bytes`);
  }

  /** Whether a part begins where the last one stopped, and belongs to the same body. */
  #continues(range: string | null): boolean {
    const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range ?? "");
    if (match === null || Number(match[1]) !== this.#received) return false;
    const total = match[3] === "*" ? undefined : Number(match[3]);
    if (total === undefined) return this.#total !== undefined;
    if (this.#total !== undefined && this.#total !== total) return false;
    if (Number(match[2]) !== total - 1) return false;
    this.#total = total;
    return true;
  }

  #restart(): void {
    this.#sink?.[Symbol.dispose]();
    this.#sink = undefined;
    this.#received = 0;
    this.#total = undefined;
    this.#validator = "";
    this.#begun = false;
  }

  /** Drops what was not finished. */
  [Symbol.dispose](): void {
    this.#sink?.[Symbol.dispose]();
    this.#sink = undefined;
  }
}

/** Bytes of a body as it is on the way; `undefined` when unknown or packed for the transport. */
function bodyLength(headers: Headers): number | undefined {
  const text = headers.get("content-length");
  if (text === null || headers.has("content-encoding") || !/^\d{1,16}$/.test(text)) {
    return undefined;
  }
  const length = Number(text);
  return Number.isSafeInteger(length) ? length : undefined;
}

/** What `If-Range` takes: a strong tag, or the date when there is no tag. */
function validatorOf(headers: Headers): string {
  const etag = headers.get("etag");
  if (etag !== null) return etag.startsWith("W/") ? "" : etag;
  return headers.get("last-modified") ?? "";
}
