/** An HTTP/1.1 server of its own make, which can do what no real one does on request. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

/** One request as it came. */
export interface FaultRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  /** Its body, as far as `Content-Length` says. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Requests for this path before. */
  readonly seen: number;
  /** All requests before. */
  readonly count: number;
}

/** What to answer. */
export interface FaultReply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
  /** `Content-Length`, when it is not that of the body. */
  readonly length?: number;
  /** Closes the connection after so many bytes of the body. */
  readonly cut?: number;
  /** Stops sending after so many bytes of the body, and keeps the connection. */
  readonly halt?: number;
  /** Milliseconds before the answer. */
  readonly delay?: number;
  /** Sends no faster than it is taken, more or less: pieces of 32 KiB with a pause after each. */
  readonly paced?: boolean;
  /** Closes the connection without an answer. */
  readonly drop?: boolean;
}

const PIECE = 32 * 1024;

/** Listens on a free port of 127.0.0.1. */
export class FaultServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #respond: (request: FaultRequest) => FaultReply | Promise<FaultReply>;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #running = new Set<Promise<void>>();
  readonly #seen = new Map<string, number>();
  readonly #closing = Promise.withResolvers<void>();
  /** All requests, in order. */
  readonly requests: FaultRequest[] = [];
  /** Bytes of bodies that were sent. */
  sent = 0;
  /** Most requests under way at a time. */
  most = 0;
  #now = 0;

  constructor(respond: (request: FaultRequest) => FaultReply | Promise<FaultReply>) {
    this.#respond = respond;
    this.#track(this.#accept());
  }

  get host(): string {
    return `127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  #track(work: Promise<void>): void {
    this.#running.add(work);
    work.finally(() => this.#running.delete(work));
  }

  async #accept(): Promise<void> {
    for (;;) {
      let connection: Deno.TcpConn;
      try {
        connection = await this.#listener.accept();
      } catch {
        return; // closed
      }
      connection.setNoDelay(true);
      this.#connections.add(connection);
      this.#track(this.#serve(connection));
    }
  }

  async #serve(connection: Deno.TcpConn): Promise<void> {
    let text = "";
    const buffer = new Uint8Array(16 * 1024);
    try {
      for (;;) {
        let end = text.indexOf("\r\n\r\n");
        while (end < 0) {
          const got = await connection.read(buffer);
          if (got === null) return;
          text += Buffer.from(buffer.subarray(0, got)).toString("latin1");
          // Somebody who tries TLS waits for an answer that is not coming.
          if (text.charCodeAt(0) === TLS_HANDSHAKE) return;
          end = text.indexOf("\r\n\r\n");
        }
        const head = text.slice(0, end).split("\r\n");
        text = text.slice(end + 4);
        const length = Number(/^content-length: *(\d+)$/im.exec(head.join("\n"))?.[1] ?? 0);
        const pieces = [text];
        for (let have = text.length; have < length;) {
          const got = await connection.read(buffer);
          if (got === null) return;
          pieces.push(Buffer.from(buffer.subarray(0, got)).toString("latin1"));
          have += got;
        }
        text = pieces.join("");
        const body = Uint8Array.from(Buffer.from(text.slice(0, length), "latin1"));
        text = text.slice(length);
        this.most = Math.max(this.most, ++this.#now);
        const keep = await this.#answer(connection, head, body).finally(() => this.#now--);
        if (!keep) return;
      }
    } catch {
      // The client went away.
    } finally {
      this.#connections.delete(connection);
      try {
        connection.close();
      } catch {
        // Closed with the server.
      }
    }
  }

  async #answer(
    connection: Deno.TcpConn,
    head: string[],
    sent: Uint8Array<ArrayBuffer>,
  ): Promise<boolean> {
    const [method = "", path = ""] = head[0]!.split(" ");
    const seen = this.#seen.get(path) ?? 0;
    this.#seen.set(path, seen + 1);
    const headers = new Headers(
      head.slice(1).map((line): [string, string] => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon), line.slice(colon + 1).trim()];
      }),
    );
    const request: FaultRequest = {
      method,
      path,
      headers,
      body: sent,
      seen,
      count: this.requests.length,
    };
    this.requests.push(request);
    const reply = await this.#respond(request);
    if (reply.delay) await new Promise((resolve) => setTimeout(resolve, reply.delay));
    if (reply.drop) return false;
    const body = reply.body ?? new Uint8Array(0);
    const status = reply.status ?? 200;
    const lines = [`HTTP/1.1 ${status} ${TEXT[status] ?? "Status"}`];
    if (status !== 304 && status !== 204) {
      lines.push(`content-length: ${reply.length ?? body.length}`);
    }
    for (const [name, value] of Object.entries(reply.headers ?? {})) {
      lines.push(`${name}: ${value}`);
    }
    await writeAll(connection, new TextEncoder().encode(lines.join("\r\n") + "\r\n\r\n"));
    if (method === "HEAD") return true;
    const stop = Math.min(reply.cut ?? body.length, reply.halt ?? body.length, body.length);
    for (let at = 0; at < stop; at += PIECE) {
      const piece = body.subarray(at, Math.min(at + PIECE, stop));
      await writeAll(connection, piece);
      this.sent += piece.length;
      if (reply.paced && at + PIECE < stop) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (reply.halt !== undefined) await this.#closing.promise;
    return reply.cut === undefined && reply.length === undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.resolve();
    this.#listener.close();
    for (const connection of this.#connections) {
      try {
        connection.close();
      } catch {
        // Already closed.
      }
    }
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

/** First byte of a TLS connection. */
const TLS_HANDSHAKE = 0x16;

const TEXT: Record<number, string> = {
  200: "OK",
  206: "Partial Content",
  304: "Not Modified",
  404: "Not Found",
  416: "Range Not Satisfiable",
  503: "Service Unavailable",
};

async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Answers as a plain server with tags and ranges does. */
export function plainReply(request: FaultRequest, body: Uint8Array): FaultReply {
  const etag = `"${createHash("sha256").update(body).digest("hex").slice(0, 16)}"`;
  const headers = { etag, "accept-ranges": "bytes" };
  if (request.headers.get("if-none-match") === etag) return { status: 304, headers };
  const range = /^bytes=(\d+)-$/.exec(request.headers.get("range") ?? "");
  const same = [null, etag].includes(request.headers.get("if-range"));
  if (range === null || !same) return { headers, body };
  const start = Number(range[1]);
  if (start >= body.length) {
    return { status: 416, headers: { ...headers, "content-range": `bytes */${body.length}` } };
  }
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${start}-${body.length - 1}/${body.length}` },
    body: body.subarray(start),
  };
}

/** Answers with the file of a directory that a path names. */
export async function directoryReply(dir: string, request: FaultRequest): Promise<FaultReply> {
  try {
    return plainReply(request, await Deno.readFile(dir + decodeURIComponent(request.path)));
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory || error instanceof Deno.errors.IsADirectory;
    if (missing) return { status: 404 };
    throw error;
  }
}
