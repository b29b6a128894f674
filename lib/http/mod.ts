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
export type { BodyReceiver, BodySink } from "./body.ts";
export {
  DEFAULT_REQUESTS,
  type GetOptions,
  HttpClient,
  type HttpClientOptions,
  type HttpDocument,
  MAX_DOCUMENT,
  parseUrl,
} from "./client.ts";
export { type Cookie, cookieHeader, parseCookies } from "./cookies.ts";
export { HttpError, shownUrl } from "./error.ts";
export type { RetryOptions } from "./retry.ts";
export type { WatchOptions } from "./watch.ts";
