/**
 * HTTP/1.1 over connections of our own: for many small objects without TLS, where the runtime's
 * `fetch` costs more than the network. What needs more than that is `fetch`'s.
 *
 * It is a second way of doing the same, and stays only for what it saves. An ostree pull of 10,000
 * objects on two cores: with `fetch` alone it takes 1.3 times the CPU time (1.37 times the
 * reference's, in place of 1.05 times) and 1.4 times the memory, which is above its bound. Fetching
 * alone, nothing unpacked or stored, takes 1.7 times the CPU time with `fetch`, and just as much
 * with `node:http` and an agent that keeps connections. Measured by turns in one run; where that
 * changes, this file and `plain_connection.ts` can go, and `Sender` needs nothing else.
 */
import { bareHost } from "./bare_host.ts";
import type { Incoming } from "./exchange.ts";
import { PlainConnection } from "./plain_connection.ts";

/** Methods whose requests have no body. */
const METHODS = new Set(["GET", "HEAD"]);

/** A request that fits. */
export interface PlainRequest {
  /** Method. */
  readonly method: string;
  /** Headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Connections to servers, kept from request to request. */
export class PlainConnections implements Disposable {
  readonly #idle = new Map<string, PlainConnection[]>();
  readonly #keep: number;
  #closed = false;

  /**
   * Starts without connections.
   *
   * @param keep idle connections to one host that are kept
   */
  constructor(keep: number) {
    this.#keep = keep;
  }

  /** Whether a request can be sent this way. */
  static fits(url: URL, method: string, body: unknown): boolean {
    return url.protocol === "http:" && METHODS.has(method) && body === undefined;
  }

  /**
   * Sends a request and waits for the head of the answer.
   *
   * @throws {TypeError} when the connection fails or the answer is none
   */
  async send(url: URL, request: PlainRequest): Promise<Incoming> {
    const { signal } = request;
    const text = requestText(url, request);
    for (;;) {
      signal.throwIfAborted();
      const kept = this.#idle.get(url.host)?.pop();
      const connection = kept ?? await connect(url, signal);
      const close = () => connection.close();
      signal.addEventListener("abort", close, { once: true });
      const done = (reusable: boolean) => {
        signal.removeEventListener("abort", close);
        if (reusable) this.#put(url.host, connection);
        else connection.close();
      };
      try {
        return await connection.exchange(text, { head: request.method === "HEAD", done });
      } catch (error) {
        const fresh = connection.silent;
        done(false);
        signal.throwIfAborted();
        // A server may close what was idle; that says nothing about a new connection.
        if (kept === undefined || !fresh) throw error;
      }
    }
  }

  #put(host: string, connection: PlainConnection): void {
    let idle = this.#idle.get(host);
    if (idle === undefined) this.#idle.set(host, idle = []);
    if (this.#closed || idle.length >= this.#keep) connection.close();
    else idle.push(connection);
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const idle of this.#idle.values()) {
      for (const connection of idle.splice(0)) connection.close();
    }
  }
}

async function connect(url: URL, signal: AbortSignal): Promise<PlainConnection> {
  const hostname = bareHost(url);
  const port = url.port === "" ? 80 : Number(url.port);
  let connection: Deno.TcpConn;
  try {
    connection = await Deno.connect({ hostname, port, signal });
  } catch (cause) {
    signal.throwIfAborted();
    // A name that is unknown is told with an error of no particular kind.
    const { message } = cause as Error;
    throw new TypeError(`${/lookup/.test(message) ? "dns" : "tcp connect"} error: ${message}`);
  }
  connection.setNoDelay();
  return new PlainConnection(connection);
}

/** The head of a request; what the headers hold must not become other headers. */
function requestText(url: URL, { method, headers }: PlainRequest): string {
  let text = `${method} ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n`;
  if (headers["accept"] === undefined) text += "accept: */*\r\n";
  for (const name in headers) {
    const value = headers[name]!;
    if (/[\0\r\n]|[^\0-\xff]/.test(value)) throw new TypeError(`Invalid value of header ${name}`);
    text += `${name}: ${value}\r\n`;
  }
  return text + "\r\n";
}
