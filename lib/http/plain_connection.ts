/** One connection that speaks HTTP/1.1 without pipelining (RFC 9112). */
import { toByteString } from "../base/mod.ts";
import type { Incoming } from "./exchange.ts";

const BUFFER = 64 * 1024;
/** Most bytes of a long body that are read at a time. */
const LONG_PIECE = 256 * 1024;
/** Longest body that gets its memory before it has come. */
const MAX_WHOLE = 1024 * 1024;
/** Longest line that gives the size of a chunk. */
const MAX_CHUNK_LINE = 4096;
/** Lines of trailers that are read over. */
const MAX_TRAILERS = 100;
/** Headers of one answer, as many as the runtime takes: each is compared with those before it. */
const MAX_HEADERS = 100;
/** Answers before the answer, such as `103 Early Hints`. */
const MAX_INTERIM = 10;

const CR = 13;
const LF = 10;

/** What a connection needs to know of a request. */
export interface ExchangeOptions {
  /** Whether only the head was asked for. */
  readonly head: boolean;
  /** Called once when the answer is over, with whether the connection can be used again. */
  readonly done: (reusable: boolean) => void;
}

/** One connection; one request at a time. */
export class PlainConnection {
  readonly #connection: Deno.TcpConn;
  readonly #buffer = new Uint8Array(BUFFER);
  #long: Uint8Array<ArrayBuffer> | undefined;
  #start = 0;
  #end = 0;
  #silent = true;
  #open = true;

  /** Takes over a connection. */
  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Whether nothing came since the last request was sent. */
  get silent(): boolean {
    return this.#silent;
  }

  /** Sends the text of a request and waits for the head of the answer. */
  async exchange(text: string, options: ExchangeOptions): Promise<Incoming> {
    this.#silent = true;
    if (this.#start < this.#end) throw new TypeError("The server sent more than was asked for");
    await this.#write(text);
    for (let i = 0; i < MAX_INTERIM; i++) {
      const answer = new PlainAnswer(this, await this.#head(), options);
      if (answer.status >= 200) return answer;
    }
    throw new TypeError("Too many interim answers");
  }

  async #write(text: string): Promise<void> {
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    for (let at = 0; at < bytes.length;) {
      at += await this.#connection.write(at === 0 ? bytes : bytes.subarray(at));
    }
  }

  /** Reads more into the buffer; throws at the end of the connection. */
  async #fill(): Promise<void> {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    if (this.#end === this.#buffer.length) {
      if (this.#start === 0) throw new TypeError("The head of the answer is too long");
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    const got = await this.#connection.read(this.#buffer.subarray(this.#end));
    if (got === null) throw new TypeError("The connection was closed before the answer was whole");
    this.#silent = false;
    this.#end += got;
  }

  async #head(): Promise<string> {
    for (let at = this.#start;;) {
      const end = endOfHead(this.#buffer, at, this.#end);
      if (end >= 0) {
        const text = toByteString(this.#buffer.subarray(this.#start, end));
        this.#start = end;
        return text;
      }
      const scanned = Math.max(0, this.#end - this.#start - 3);
      await this.#fill();
      at = this.#start + scanned;
    }
  }

  /** Reads a line without its end. */
  async line(): Promise<string> {
    for (let scanned = 0;;) {
      for (let at = this.#start + scanned; at < this.#end; at++) {
        if (this.#buffer[at] !== LF) continue;
        const end = at > this.#start && this.#buffer[at - 1] === CR ? at - 1 : at;
        const text = toByteString(this.#buffer.subarray(this.#start, end));
        this.#start = at + 1;
        return text;
      }
      scanned = this.#end - this.#start;
      if (scanned > MAX_CHUNK_LINE) throw new TypeError("A line of the answer is too long");
      await this.#fill();
    }
  }

  /** Reads `into` full. */
  async readFull(into: Uint8Array): Promise<void> {
    let at = Math.min(into.length, this.#end - this.#start);
    into.set(this.#buffer.subarray(this.#start, this.#start + at));
    this.#start += at;
    while (at < into.length) {
      const got = await this.#connection.read(into.subarray(at));
      if (got === null) {
        throw new TypeError(`The body ends after ${at} of ${into.length} bytes`);
      }
      at += got;
    }
  }

  /** The next `size` bytes, when they fit in the buffer; valid until more is read. */
  async view(size: number): Promise<Uint8Array | undefined> {
    if (size > this.#buffer.length) return undefined;
    if (size > this.#buffer.length - this.#start) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    while (this.#end - this.#start < size) {
      const got = await this.#connection.read(this.#buffer.subarray(this.#end));
      if (got === null) throw new TypeError("The connection was closed before the body was whole");
      this.#end += got;
    }
    this.#start += size;
    return this.#buffer.subarray(this.#start - size, this.#start);
  }

  /** A piece of at most `most` bytes, valid until the next one; undefined at the end. */
  async piece(most: number): Promise<Uint8Array | undefined> {
    if (this.#start === this.#end) {
      if (most >= LONG_PIECE) return await this.#longPiece();
      this.#start = this.#end = 0;
      const got = await this.#connection.read(this.#buffer);
      if (got === null) return undefined;
      this.#end = got;
    }
    const size = Math.min(most, this.#end - this.#start);
    this.#start += size;
    return this.#buffer.subarray(this.#start - size, this.#start);
  }

  /** As `piece()`, for fewer calls; what follows the body is not read. */
  async #longPiece(): Promise<Uint8Array | undefined> {
    const buffer = this.#long ??= new Uint8Array(LONG_PIECE);
    const got = await this.#connection.read(buffer);
    return got === null ? undefined : buffer.subarray(0, got);
  }

  /** Closes it; a second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#connection.close();
  }
}

/** Where a head ends that begins before `from`; -1 when it does not end yet. */
function endOfHead(buffer: Uint8Array, from: number, end: number): number {
  for (let at = from; at + 3 < end; at++) {
    if (
      buffer[at] === CR && buffer[at + 1] === LF && buffer[at + 2] === CR && buffer[at + 3] === LF
    ) return at + 4;
  }
  return -1;
}

/** How the end of a body is told. */
type Framing = number | "chunked" | "close";

/** An answer whose body is still to be read. */
class PlainAnswer implements Incoming {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Headers;
  readonly #connection: PlainConnection;
  readonly #done: (reusable: boolean) => void;
  readonly #framing: Framing;
  readonly #keep: boolean;
  #over = false;
  #body: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;

  constructor(connection: PlainConnection, head: string, { head: only, done }: ExchangeOptions) {
    const lines = head.split("\r\n");
    const match = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: (.*))?$/.exec(lines[0]!);
    if (match === null) throw new TypeError("The answer is not HTTP/1.1");
    this.#connection = connection;
    this.#done = done;
    this.status = Number(match[2]);
    this.statusText = match[3] ?? "";
    this.headers = parseHeaders(lines);
    const none = only || this.status < 200 || this.status === 204 || this.status === 304;
    this.#framing = none ? 0 : framing(this.headers);
    const closes = /(?:^|,)\s*close\s*(?:,|$)/i.test(this.headers.get("connection") ?? "");
    this.#keep = this.#framing !== "close" && match[1] === "1" && !closes;
    // An interim answer is followed by another one.
    if (this.#framing === 0 && this.status >= 200) this.#end(this.#keep);
  }

  #end(reusable: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#done(reusable);
  }

  /** The whole body. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const length = this.#framing;
    if (typeof length === "number" && length <= MAX_WHOLE) {
      const bytes = new Uint8Array(length);
      if (length === 0) return bytes;
      try {
        await this.#connection.readFull(bytes);
      } catch (error) {
        this.#end(false);
        throw error;
      }
      this.#end(this.#keep);
      return bytes;
    }
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    for await (const piece of this.#copies()) pieces.push(piece);
    return await new Blob(pieces).bytes();
  }

  /** The whole body, valid until something else is waited for. */
  async view(): Promise<Uint8Array> {
    const size = this.#framing;
    if (typeof size !== "number" || size === 0) return await this.bytes();
    let bytes: Uint8Array | undefined;
    try {
      bytes = await this.#connection.view(size);
    } catch (error) {
      this.#end(false);
      throw error;
    }
    if (bytes === undefined) return await this.bytes();
    this.#end(this.#keep);
    return bytes;
  }

  /** The body in pieces; leaving it early gives the connection up. */
  get body(): ReadableStream<Uint8Array<ArrayBuffer>> {
    if (this.#body !== undefined) return this.#body;
    const pieces = this.#copies();
    return this.#body = new ReadableStream({
      pull: async (controller) => {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => this.#end(false),
    }, { highWaterMark: 0 });
  }

  async *#copies(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    for await (const piece of this.pieces()) yield piece.slice();
  }

  /** The body in pieces, each valid until the next one is asked for; as `body` in all else. */
  async *pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    let whole = false;
    try {
      if (this.#framing === "chunked") yield* this.#chunks();
      else yield* this.#plain(this.#framing === "close" ? Infinity : this.#framing);
      whole = true;
    } finally {
      this.#end(whole && this.#keep);
    }
  }

  async *#plain(length: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let left = length; left > 0;) {
      const piece = await this.#connection.piece(left);
      if (piece === undefined) {
        if (length === Infinity) return;
        throw new TypeError(`The body ends after ${length - left} of ${length} bytes`);
      }
      left -= piece.length;
      yield piece;
    }
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const match = /^([0-9a-fA-F]{1,13})[ \t]*(?:;.*)?$/.exec(await this.#connection.line());
      if (match === null) throw new TypeError("Invalid size of a chunk");
      const size = parseInt(match[1]!, 16);
      if (size === 0) break;
      yield* this.#plain(size);
      if (await this.#connection.line() !== "") throw new TypeError("Invalid end of a chunk");
    }
    for (let i = 0; await this.#connection.line() !== ""; i++) {
      if (i === MAX_TRAILERS) throw new TypeError("Too many trailers");
    }
  }
}

function parseHeaders(lines: readonly string[]): Headers {
  // Besides them there are the status and the empty line at the end.
  if (lines.length > MAX_HEADERS + 3) throw new TypeError("Too many headers in the answer");
  const headers = new Headers();
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!;
    if (line === "") continue;
    const colon = line.indexOf(":");
    if (colon <= 0) throw new TypeError("Invalid header in the answer");
    // Throws a type error for names and values that are none.
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return headers;
}

function framing(headers: Headers): Framing {
  const coding = headers.get("transfer-encoding");
  if (coding !== null) {
    if (coding.toLowerCase() !== "chunked") throw new TypeError("Unknown transfer encoding");
    if (headers.has("content-length")) throw new TypeError("The length of the body is ambiguous");
    return "chunked";
  }
  const length = headers.get("content-length");
  if (length === null) return "close";
  if (!/^\d{1,15}$/.test(length)) throw new TypeError("Invalid length of the body");
  return Number(length);
}
