/** Answers with several parts of one thing: `multipart/byteranges` (RFC 9110 14.6). */

/** Most bytes before a part's content, headers and what stands before them. */
const MAX_PART_HEAD = 16 * 1024;
const LF = 10;

/** A stretch of a whole. */
export interface ContentRange {
  /** First byte. */
  readonly start: number;
  /** Byte after the last one. */
  readonly end: number;
  /** Bytes of the whole; `undefined` when the server does not know. */
  readonly total: number | undefined;
}

/** Parses `Content-Range`; `undefined` when it is not one of bytes, or makes no sense. */
export function parseContentRange(text: string | null): ContentRange | undefined {
  const match = /^\s*bytes\s+(\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)\s*$/i.exec(text ?? "");
  if (match === null) return undefined;
  const [start, end] = [Number(match[1]), Number(match[2]) + 1];
  const total = match[3] === "*" ? undefined : Number(match[3]);
  if (end <= start || (total !== undefined && end > total)) return undefined;
  return { start, end, total };
}

/** The boundary that a content type names; `undefined` when it is not that of several parts. */
export function byterangesBoundary(contentType: string | null): string | undefined {
  if (!/^\s*multipart\/byteranges\s*(;|$)/i.test(contentType ?? "")) return undefined;
  // Some servers write boundaries that would have to be quoted without quotes.
  return /;\s*boundary="?([^";]{1,200}?)"?\s*(;|$)/i.exec(contentType!)?.[1];
}

/** Takes a body with several parts in pieces; parts may come in any order. */
export class ByterangesParser {
  readonly #delimiter: string;
  readonly #begin: (range: ContentRange) => void;
  #line: number[] = [];
  #head = 0;
  #state: "between" | "headers" | "content" | "end" = "between";
  #range: ContentRange | undefined;
  #at = 0;
  #left = 0;

  /**
   * Starts before the first part.
   *
   * @param boundary as {@linkcode byterangesBoundary} gives it
   * @param begin told of each part before its content; may throw
   */
  constructor(boundary: string, begin: (range: ContentRange) => void) {
    this.#delimiter = `--${boundary}`;
    this.#begin = begin;
  }

  /** Whether the end of all parts has come. */
  get ended(): boolean {
    return this.#state === "end";
  }

  /**
   * Takes a piece of the body, and gives the stretches of content in it with their places in the
   * whole; they are views of the piece.
   *
   * @throws {TypeError} when the body is not what it should be
   */
  *push(piece: Uint8Array): Generator<{ readonly offset: number; readonly bytes: Uint8Array }> {
    for (let at = 0; at < piece.length && this.#state !== "end";) {
      if (this.#state === "content") {
        const bytes = piece.subarray(at, at + Math.min(this.#left, piece.length - at));
        const offset = this.#at;
        at += bytes.length;
        this.#at += bytes.length;
        this.#left -= bytes.length;
        if (this.#left === 0) this.#state = "between";
        yield { offset, bytes };
        continue;
      }
      const byte = piece[at++]!;
      if (++this.#head > MAX_PART_HEAD) throw new TypeError("A part has too many headers");
      if (byte === LF) this.#takeLine();
      else this.#line.push(byte);
    }
  }

  #takeLine(): void {
    const line = String.fromCharCode(...this.#line).trimEnd();
    this.#line = [];
    if (this.#state === "between") {
      if (line === this.#delimiter) this.#state = "headers";
      else if (line === `${this.#delimiter}--`) this.#state = "end";
      return;
    }
    if (line !== "") {
      const header = /^content-range\s*:(.*)$/i.exec(line);
      if (header !== null) this.#range = parseContentRange(header[1]!);
      return;
    }
    if (this.#range === undefined) throw new TypeError("A part does not say where it belongs");
    const range = this.#range;
    this.#range = undefined;
    this.#head = 0;
    this.#at = range.start;
    this.#left = range.end - range.start;
    this.#state = "content";
    this.#begin(range);
  }
}
