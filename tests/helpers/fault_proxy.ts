/**
 * Stands before a real server and does to it what networks and bad servers do: cuts, stalls, errors,
 * wrong lengths, ignored ranges, redirects, other bytes.
 *
 * @module
 */
import { type FaultReply, type FaultRequest, FaultServer } from "./fault_server.ts";

/** What is done to one answer; nothing by default. */
export interface Fault {
  /** Closes the connection after so many bytes of the body. */
  cut?: number;
  /** Stops sending after so many bytes of the body, and keeps the connection. */
  halt?: number;
  /** Milliseconds before the answer. */
  delay?: number;
  /** Closes the connection without an answer. */
  drop?: boolean;
  /** As `drop`, but after the server got the request. */
  dropAfter?: boolean;
  /** Changes a byte in the middle of the body. */
  spoil?: boolean;
  /** Answers with this status and does not ask the server. */
  status?: number;
  /** Further headers of the answer. */
  headers?: Record<string, string>;
  /** Body of the answer, in the place of the server's. */
  body?: Uint8Array;
  /** `Content-Length` of the answer, whatever the body's is. */
  length?: number;
  /** Asks the server without `Range`. */
  ignoreRange?: boolean;
  /** Sends the client to `http://localhost:PORT` with the same path: another origin. */
  elsewhere?: boolean;
}

/** A server before another one, on a free port of 127.0.0.1. */
export class FaultProxy implements AsyncDisposable {
  readonly #server: FaultServer;
  readonly #upstream: string;
  readonly #fault: (request: FaultRequest) => Fault | undefined;
  readonly #client = Deno.createHttpClient({});

  /**
   * Starts.
   *
   * @param upstream `HOST:PORT` of the real server, which speaks plain HTTP
   * @param fault says what is done to each request
   */
  constructor(upstream: string, fault: (request: FaultRequest) => Fault | undefined = () => ({})) {
    this.#upstream = upstream;
    this.#fault = fault;
    this.#server = new FaultServer((request) => this.#answer(request));
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return this.#server.host;
  }

  /** All requests, in order. */
  get requests(): readonly FaultRequest[] {
    return this.#server.requests;
  }

  /** Bytes of bodies that were sent to clients. */
  get sent(): number {
    return this.#server.sent;
  }

  async #answer(request: FaultRequest): Promise<FaultReply> {
    const fault = this.#fault(request) ?? {};
    const { status, body, ignoreRange, elsewhere, dropAfter, headers: more, ...rest } = fault;
    if (fault.drop) return rest;
    if (elsewhere) {
      const location = `http://localhost:${this.host.split(":")[1]}${request.path}`;
      return { status: 307, headers: { location } };
    }
    if (status !== undefined) {
      return { ...rest, status, headers: more ?? {}, ...(body === undefined ? {} : { body }) };
    }
    const headers = new Headers(request.headers);
    for (const name of ["host", "connection", "content-length"]) headers.delete(name);
    if (ignoreRange) headers.delete("range");
    const { method } = request;
    const response = await fetch(`http://${this.#upstream}${request.path}`, {
      client: this.#client,
      method,
      headers,
      redirect: "manual",
      ...(method === "GET" || method === "HEAD" ? {} : { body: request.body }),
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (dropAfter) return { drop: true };
    if (fault.spoil && bytes.length > 0) bytes[bytes.length >> 1]! ^= 1;
    const passed: Record<string, string> = {};
    for (const [name, value] of response.headers) {
      if (/^(content-length|connection|transfer-encoding|date)$/.test(name)) continue;
      passed[name] = name === "location" ? value.replace(this.#upstream, this.host) : value;
    }
    const length = method === "HEAD"
      ? { length: Number(response.headers.get("content-length") ?? 0) }
      : {};
    return {
      ...length,
      ...rest,
      status: response.status,
      headers: { ...passed, ...more },
      body: body ?? bytes,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    this.#client.close();
  }
}
