/** Sends single requests and follows redirects, without giving secrets to strangers. */
import { InvalidNameError, UnsupportedError } from "../base/mod.ts";
import { basicAuth, decoded } from "./credentials.ts";
import { type Cookie, cookieHeader } from "./cookies.ts";
import { environmentProxy, usableProxy, variableOf } from "./environment_proxy.ts";
import { HttpError } from "./error.ts";
import type { HttpRequest, Incoming } from "./exchange.ts";
import { PlainConnections } from "./plain.ts";
import { fetchUnverified } from "./unverified.ts";

const MAX_REDIRECTS = 10;

/** What connections are made with. */
export interface SenderOptions {
  /** `User-Agent` of the requests. */
  readonly userAgent?: string;
  /** Certificates (PEM) of authorities that are trusted besides the system's. */
  readonly caCerts?: readonly string[];
  /** Certificate chain and key (PEM) that the client shows. */
  readonly clientCert?: { readonly cert: string; readonly key: string };
  /** Whether servers must show a certificate that is trusted. @default true */
  readonly verifyTls?: boolean;
  /** URL of a proxy, with its user and password; else the environment says which. */
  readonly proxy?: string;
  /** Whether HTTP/2 may be used. @default true */
  readonly http2?: boolean;
  /** Cookies, sent only to their own hosts. */
  readonly cookies?: readonly Cookie[];
}

/** An answer, and where it came from in the end. */
export interface Sent {
  /** The answer. */
  readonly response: Incoming;
  /** Its URL, after redirects. */
  readonly url: URL;
}

/** Holds connections, so it is to be closed. */
export class Sender implements Disposable {
  readonly #native: Deno.HttpClient;
  readonly #direct: PlainConnections | undefined;
  readonly #options: SenderOptions;
  readonly #credentials = new Map<string, string>();

  /**
   * Prepares connections; none is made yet.
   *
   * @param idle connections to one host that are kept
   */
  constructor(options: SenderOptions, idle: number) {
    this.#options = options;
    const { caCerts, clientCert, proxy } = options;
    this.#native = Deno.createHttpClient({
      ...(caCerts === undefined ? {} : { caCerts: [...caCerts] }),
      ...clientCert,
      ...(proxy === undefined ? {} : { proxy: proxyOf(proxy) }),
      poolMaxIdlePerHost: idle,
      http2: options.http2 ?? true,
    });
    const direct = proxy === undefined && !environmentHasProxy();
    this.#direct = direct ? new PlainConnections(idle) : undefined;
  }

  /** Sends one request and follows redirects. */
  async send(start: URL, request: HttpRequest, signal: AbortSignal): Promise<Sent> {
    let url = this.#plain(start);
    let { method = "GET", headers, body } = request;
    for (let hops = 0;; hops++) {
      const response = await this.#fetch(url, { method, headers, body, signal });
      const { status } = response;
      const location = response.headers.get("location");
      const redirected = status > 300 && status < 309 && status !== 304 && location !== null;
      if (!redirected) return { response, url };
      await response.body?.cancel();
      if (hops >= MAX_REDIRECTS) throw new HttpError(start, "Too many redirects", { status });
      const next = redirectTarget(location, url);
      if (next === undefined) {
        throw new HttpError(start, "Redirected to something that is no HTTP URL", { status });
      }
      const downgraded = url.protocol === "https:" && next.protocol === "http:";
      if (downgraded && !request.downgrade) {
        throw new HttpError(start, "Redirected from https to http", { status });
      }
      if (status === 303 && method !== "GET" && method !== "HEAD") {
        method = "GET";
        body = undefined;
      } else if (status < 307 && method !== "GET" && method !== "HEAD") {
        throw new HttpError(start, `A ${method} request was redirected`, { status });
      }
      if (next.origin !== url.origin) {
        headers = withoutSecrets(headers);
        if (request.secret && body !== undefined) {
          throw new HttpError(start, "A secret was redirected to another server", { status });
        }
      }
      url = next;
    }
  }

  /** Host of the proxy that requests for a URL go through, for messages. */
  proxyFor(url: URL): string | undefined {
    const { proxy } = this.#options;
    if (proxy !== undefined) return new URL(proxy).host;
    try {
      return environmentProxy(url, variableOf)?.host;
    } catch (error) {
      // The runtime may know a kind that is unknown here.
      if (error instanceof UnsupportedError) return "of the environment";
      throw error;
    }
  }

  #fetch(url: URL, request: HttpRequest & { signal: AbortSignal }): Promise<Incoming> {
    const { method = "GET", body, signal } = request;
    const headers = this.#headers(url, request.headers);
    const { verifyTls = true, clientCert } = this.#options;
    if (!verifyTls && url.protocol === "https:") {
      const proxy = this.#options.proxy === undefined
        ? undefined
        : usableProxy(this.#options.proxy);
      return fetchUnverified(url, { method, headers, body, signal, clientCert, proxy });
    }
    // Nothing is unpacked there, so that must not be wanted.
    const opaque = headers["accept-encoding"] === "identity";
    if (this.#direct !== undefined && opaque && PlainConnections.fits(url, method, body)) {
      return this.#direct.send(url, { method, headers, signal });
    }
    return fetch(url, {
      client: this.#native,
      method,
      headers,
      ...(body === undefined ? {} : { body }),
      redirect: "manual",
      signal,
    });
  }

  /** The URL without user and password, which from now on belong to its origin. */
  #plain(url: URL): URL {
    if (url.username === "" && url.password === "") return url;
    const plain = new URL(url);
    plain.username = plain.password = "";
    this.#credentials.set(plain.origin, basicAuth(decoded(url.username), decoded(url.password)));
    return plain;
  }

  #headers(url: URL, own: Readonly<Record<string, string>>): Record<string, string> {
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
    this.#direct?.[Symbol.dispose]();
    this.#native.close();
  }
}

const PROXY_VARIABLES = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] as const;

/** Whether requests may have to go through a proxy, which is then the runtime's business. */
function environmentHasProxy(): boolean {
  try {
    return PROXY_VARIABLES.some((name) => Deno.env.get(name));
  } catch (error) {
    // The runtime may look where we may not.
    if (error instanceof Deno.errors.NotCapable) return true;
    throw error;
  }
}

/** Where a redirect leads, without what it says about users and passwords: not ours to send. */
function redirectTarget(location: string, from: URL): URL | undefined {
  const next = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (next === undefined || !/^https?:$/.test(next.protocol)) return undefined;
  next.username = next.password = "";
  return next;
}

function withoutSecrets(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !/^(authorization|cookie)$/i.test(name)),
  );
}

function proxyOf(text: string): Deno.Proxy {
  const url = parseUrl(text);
  const basic = { username: decoded(url.username), password: decoded(url.password) };
  const named = url.username !== "";
  url.username = url.password = "";
  const transport = url.protocol === "https:" ? "https" : "http";
  return { transport, url: url.href, ...(named ? { basicAuth: basic } : {}) } as Deno.Proxy;
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
