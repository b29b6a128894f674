/**
 * A client for HTTP that retries, resumes, keeps limits and keeps secrets.
 *
 * @example The cookies that belong to a host
 * ```ts
 * import { cookieHeader, parseCookies } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const cookies = parseCookies("example.org\tFALSE\t/repo\tTRUE\t0\tname\tvalue\n");
 * assert.equal(cookieHeader(cookies, new URL("https://example.org/repo/config")), "name=value");
 * assert.equal(cookieHeader(cookies, new URL("https://example.com/repo/config")), undefined);
 * ```
 *
 * @module
 */
export { AnswerExchange, type RequestOptions } from "./answer.ts";
export type { BodyReceiver, BodySink } from "./body.ts";
export {
  byterangesBoundary,
  ByterangesParser,
  type ContentRange,
  parseContentRange,
} from "./byteranges.ts";
export {
  DEFAULT_REQUESTS,
  type GetOptions,
  HttpClient,
  type HttpClientOptions,
  type HttpDocument,
  MAX_DOCUMENT,
} from "./client.ts";
export { basicAuth } from "./credentials.ts";
export { type Cookie, cookieHeader, parseCookies } from "./cookies.ts";
export { HttpError, type HttpErrorOptions, shownUrl } from "./error.ts";
export type {
  AnswerHead,
  ByteCounter,
  Exchange,
  HttpAnswer,
  HttpRequest,
  Incoming,
} from "./exchange.ts";
export { type Retry, type RetryOptions, sleep } from "./retry.ts";
export { parseUrl, type SenderOptions } from "./sender.ts";
export type { WatchOptions } from "./watch.ts";
