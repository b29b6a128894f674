/** One registry on the network: where it answers, and how it is asked (spec: oci 6). */
import {
  AnswerExchange,
  type AnswerHead,
  type ByteCounter,
  type Exchange,
  type HttpAnswer,
  HttpClient,
  type HttpClientOptions,
  HttpError,
  type HttpRequest,
  type Incoming,
  type RequestOptions,
} from "../http/mod.ts";
import type { RegistryAuth } from "./auth.ts";
import { registryError } from "./error.ts";

/** Milliseconds without a byte after which a request is given up. */
const STALL = 60_000;
/** Milliseconds in which an insecure registry must speak TLS. */
const PROBE = 10_000;
/** Tries after the first one. */
const RETRIES = 4;
/** Statuses with which a registry answers its first request. */
const ANSWERS: readonly number[] = [200, 401];

/** How a registry is reached. */
export interface HostOptions {
  /** Whether it need not have a certificate that is trusted, nor TLS at all. */
  readonly insecure: boolean;
  /** How requests are made. */
  readonly http: HttpClientOptions;
}

/** Who asks for what. */
export interface Access {
  /** What the token must allow, for example `repository:library/busybox:pull`. */
  readonly scopes: readonly string[];
  /** The authentication of the repository. */
  readonly auth: RegistryAuth;
  /** What is asked for, for messages. */
  readonly what: string;
  /** Gives it up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** A registry that has answered; holds connections, so it is to be closed. */
export class RegistryHost implements Disposable {
  /** The root of its interface, ending in `/v2/`. */
  readonly base: URL;
  /** Headers of its first answer, which say how to authenticate. */
  readonly headers: Headers;
  /** Makes the requests. */
  readonly client: HttpClient;
  /** Whether its certificate was verified. */
  readonly secure: boolean;
  /** Ranges that it takes at a time, as far as is known; 0 for none. */
  rangesAtOnce = Number.MAX_SAFE_INTEGER;

  readonly #signal: AbortSignal | undefined;

  private constructor(
    client: HttpClient,
    head: AnswerHead,
    options: { secure: boolean; signal: AbortSignal | undefined },
  ) {
    const { secure, signal } = options;
    this.#signal = signal;
    this.client = client;
    this.base = head.url;
    this.headers = head.headers;
    this.secure = secure;
  }

  /**
   * Finds out how a registry answers.
   *
   * @param name host, with its port when it has one
   * @throws {RegistryError} when it cannot be reached or is no registry
   */
  static async open(name: string, options: HostOptions): Promise<RegistryHost> {
    const { insecure } = options;
    const client = new HttpClient({
      retries: RETRIES,
      stall: STALL,
      // One byte is enough.
      minSpeed: 1000 / STALL,
      ...options.http,
      verifyTls: !insecure,
    });
    try {
      return await ping(client, name, options);
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }

    async function ping(client: HttpClient, name: string, options: HostOptions) {
      const url = new URL(`https://${name}/v2/`);
      const { insecure, http: { signal } } = options;
      try {
        const head = insecure
          ? await client.request(url, { statuses: ANSWERS, ...probe(signal) })
          : await client.request(url, { statuses: ANSWERS });
        return new RegistryHost(client, { ...head, url }, { secure: !insecure, signal });
      } catch (error) {
        signal?.throwIfAborted();
        const first = failureOf(error, url);
        const failed = registryError(first, { what: `registry ${name}`, access: "first request" });
        if (!insecure || first.status !== undefined) throw failed;
        try {
          const plain = new URL(`http://${name}/v2/`);
          const head = await client.request(plain, { statuses: ANSWERS });
          return new RegistryHost(client, { ...head, url: plain }, { secure: false, signal });
        } catch (second) {
          if (!(second instanceof HttpError)) throw second;
          throw registryError(second, {
            what: `registry ${name}`,
            access: `after https failed: ${first.message}`,
          });
        }
      }
    }
  }

  /**
   * Makes a request; whatever status is not among those of the options is an error.
   *
   * @param path below `/v2/`, or a whole URL that the registry gave
   * @throws {RegistryError} when the registry refuses or cannot be reached
   */
  async request(
    path: string | URL,
    options: RequestOptions & { access: Access },
  ): Promise<HttpAnswer> {
    const { access } = options;
    const url = new URL(path, this.base);
    const exchange = new AnswerExchange(url, { statuses: [200], ...options });
    await this.run(url, exchange, access);
    return exchange.answer;
  }

  /**
   * Does an exchange with authentication.
   *
   * @throws {RegistryError} as {@linkcode RegistryHost.request}
   */
  async run(path: string | URL, exchange: Exchange, access: Access): Promise<void> {
    const url = new URL(path, this.base);
    // What the registry handed over to another server is not for its own tokens.
    const own = url.origin === this.base.origin;
    try {
      const authorized = own ? new Authorized(exchange, access, this.base) : exchange;
      await this.client.run(url, authorized, eitherSignal(access.signal, this.#signal));
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      throw registryError(error, { what: access.what, access: access.auth.shown });
    }
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }
}

/** Aborted when one of both is. */
function eitherSignal(
  one: AbortSignal | undefined,
  other: AbortSignal | undefined,
): AbortSignal | undefined {
  if (one === undefined || other === undefined || one === other) return one ?? other;
  return AbortSignal.any([one, other]);
}

/** One try that does not wait for long: what does not speak TLS may not say anything at all. */
function probe(signal: AbortSignal | undefined): RequestOptions {
  const timeout = AbortSignal.timeout(PROBE);
  return {
    once: true,
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  };
}

/** Why there was no answer. */
function failureOf(error: unknown, url: URL): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new HttpError(url, "No answer");
  }
  throw error;
}

/** An exchange with the header that lets it in, renewed once when it does not. */
class Authorized implements Exchange {
  readonly #inner: Exchange;
  readonly #access: Access;
  readonly #base: URL;
  #sent: string | undefined;
  #renewed = false;

  constructor(inner: Exchange, access: Access, base: URL) {
    this.#inner = inner;
    this.#access = access;
    this.#base = base;
  }

  get received(): number {
    return this.#inner.received;
  }

  get worthResuming(): boolean {
    return this.#inner.worthResuming;
  }

  get once(): boolean {
    return this.#inner.once ?? false;
  }

  async request(): Promise<HttpRequest> {
    const { auth, scopes } = this.#access;
    this.#sent = await auth.header(scopes);
    const inner = await this.#inner.request();
    if (this.#sent === undefined) return inner;
    return { ...inner, headers: { ...inner.headers, authorization: this.#sent } };
  }

  accepts(status: number): boolean {
    return this.#inner.accepts(status);
  }

  receive(response: Incoming, count: ByteCounter, url: URL): Promise<void> {
    // Long transfers outlive their tokens more than once.
    this.#renewed = false;
    return this.#inner.receive(response, count, url);
  }

  async again(head: AnswerHead, error: HttpError): Promise<boolean> {
    const { auth, scopes } = this.#access;
    if (head.status !== 401) return await this.#inner.again?.(head, error) ?? false;
    // Only the registry itself may ask for its tokens.
    if (this.#renewed || head.url.origin !== this.#base.origin) return false;
    this.#renewed = true;
    return await auth.renew(scopes, { headers: head.headers, sent: this.#sent });
  }
}
