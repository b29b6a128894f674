/** What is asked of a server, and what becomes of the answer, over as many requests as it takes. */
import type { HttpError } from "./error.ts";

/** One request. */
export interface HttpRequest {
  /** Method. @default "GET" */
  readonly method?: string;
  /** Headers; `authorization` is left out once a redirect leads to another origin. */
  readonly headers: Readonly<Record<string, string>>;
  /** Body; kept by the caller, since it may be sent more than once. */
  readonly body?: Uint8Array<ArrayBuffer> | string | undefined;
  /** Whether the body must not follow a redirect to another origin. @default false */
  readonly secret?: boolean | undefined;
  /**
   * Whether a redirect may lead from https to http: for content that is verified anyway.
   *
   * @default false
   */
  readonly downgrade?: boolean;
}

/** An answer whose body is still to be read: what there is of a `Response` whoever sent for it. */
export interface Incoming
  extends Pick<Response, "status" | "statusText" | "headers" | "body" | "bytes"> {
  /** The whole body without a copy: valid only until something else is waited for. */
  view?(): Promise<Uint8Array>;
  /** The body without copies, in pieces that are valid until the next one is asked for. */
  pieces?(): AsyncIterable<Uint8Array>;
}

/** The head of an answer. */
export interface AnswerHead {
  /** Its status. */
  readonly status: number;
  /** Its headers. */
  readonly headers: Headers;
  /** Where it came from, after redirects. */
  readonly url: URL;
}

/** Told how many bytes have come; gives a promise to wait for when they came too fast. */
export type ByteCounter = (bytes: number) => Promise<void> | undefined;

/** Something that is asked for until it is there. */
export interface Exchange {
  /** Bytes that have arrived so far; as long as there are more of them, tries are not counted. */
  readonly received: number;
  /** Whether the next request asks only for the rest. */
  readonly worthResuming: boolean;
  /** Whether it may be asked for only once, whatever happens. @default false */
  readonly once?: boolean;
  /** The next request; called anew for each try. */
  request(): HttpRequest | Promise<HttpRequest>;
  /** Whether an answer with this status is one to receive. */
  accepts(status: number): boolean;
  /**
   * Takes an accepted answer.
   *
   * @throws {TypeError} when its body ends early
   */
  receive(response: Incoming, count: ByteCounter, url: URL): Promise<void>;
  /**
   * Looks at an answer that is not accepted; returns whether to ask again at once, in another way.
   * What it throws takes the place of the status as the reason of the failure.
   */
  again?(head: AnswerHead, error: HttpError): boolean | Promise<boolean>;
}

/** A whole answer. */
export interface HttpAnswer extends AnswerHead {
  /** Its body. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}
