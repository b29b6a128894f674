/** One request and its whole answer. */
import type { ByteCounter, Exchange, HttpAnswer, HttpRequest, Incoming } from "./exchange.ts";
import { isPassing } from "./retry.ts";
import { type BodySink, bytesReceiver, tooLarge } from "./body.ts";

const MAX_ANSWER = 64 * 1024;

/** How something is asked of a server. */
export interface RequestOptions {
  /** Method. @default "GET" */
  readonly method?: string;
  /** Headers; `authorization` goes to no other origin. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Body. */
  readonly body?: Uint8Array<ArrayBuffer> | string;
  /** Whether the body must not follow a redirect to another origin. @default false */
  readonly secret?: boolean;
  /** Largest body of the answer in bytes. @default 65536 */
  readonly maxSize?: number;
  /** Statuses that are answers, others being errors. @default all but passing troubles */
  readonly statuses?: readonly number[];
  /** Whether to try only once: what is asked for may happen twice otherwise. @default false */
  readonly once?: boolean;
  /** Gives it up when aborted. */
  readonly signal?: AbortSignal;
}

/** Takes one answer. */
export class AnswerExchange implements Exchange {
  readonly received = 0;
  readonly worthResuming = false;
  readonly once: boolean;
  readonly #url: URL;
  readonly #options: RequestOptions;
  #answer: HttpAnswer | undefined;

  /** Prepares the request. */
  constructor(url: URL, options: RequestOptions) {
    this.#url = url;
    this.#options = options;
    this.once = options.once ?? false;
  }

  /** The answer. */
  get answer(): HttpAnswer {
    return this.#answer!;
  }

  /** The request. */
  request(): HttpRequest {
    const { method = "GET", headers, body, secret } = this.#options;
    return { method, headers: { "accept-encoding": "identity", ...headers }, body, secret };
  }

  /** Whether the answer is one. */
  accepts(status: number): boolean {
    return this.#options.statuses?.includes(status) ?? !isPassing(status);
  }

  /** Takes the answer. */
  async receive(response: Incoming, count: ByteCounter, url: URL): Promise<void> {
    const { status, headers } = response;
    if (this.#options.method === "HEAD") {
      // Its length is that of the body which does not come.
      await response.body?.cancel();
      this.#answer = { status, headers, url, bytes: new Uint8Array(0) };
      return;
    }
    const bytes = await boundedBody(this.#url, response, {
      maxSize: this.#options.maxSize ?? MAX_ANSWER,
      count,
    });
    this.#answer = { status, headers, url, bytes };
  }
}

/**
 * Reads a body of bounded size.
 *
 * @throws {HttpError} when it is larger
 */
async function boundedBody(
  url: URL,
  response: Incoming,
  { maxSize, count }: { maxSize: number; count: ByteCounter },
): Promise<Uint8Array<ArrayBuffer>> {
  const length = Number(response.headers.get("content-length") ?? 0);
  if (length > maxSize && response.body !== null) {
    await response.body.cancel();
    throw tooLarge(url, maxSize);
  }
  const sink: BodySink<Uint8Array> = bytesReceiver(url, maxSize).open();
  if (response.body !== null) {
    for await (const piece of response.body) {
      await count(piece.length);
      sink.write(piece);
    }
  }
  return sink.finish() as Uint8Array<ArrayBuffer>;
}
