import { type ByteString, toByteString } from "../base/mod.ts";
import { DumpfileError } from "./error.ts";

/** A line may be this long in bytes: the longest list of attributes, escaped, fits several times. */
const MAX_LINE = 16 * 1024 * 1024;
/** Lines are handed out in pieces of about this many bytes, so that no string gets too long. */
const SEGMENT = 1024 * 1024;
const NEWLINE = 0x0a;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Receives whole lines: a number of them in `bytes`, and the same as a byte string. */
export type SegmentSink = (bytes: Uint8Array, text: ByteString) => void;

/**
 * The bytes as a byte string; ASCII, the usual case, is decoded natively. Bytes above 0x7f make the
 * decoded text shorter or bring in replacement characters, so it need not be looked for.
 */
function latin1(bytes: Uint8Array): ByteString {
  const text = decoder.decode(bytes);
  if (text.length === bytes.length && !text.includes("\ufffd")) return text;
  return toByteString(bytes);
}

/** Cuts a stream of bytes into segments of whole lines. */
export class Segmenter {
  readonly #sink: SegmentSink;
  #carried: Uint8Array[] = [];
  #carriedLength = 0;

  /** Creates a segmenter. The bytes given to `sink` are valid during the call only. */
  constructor(sink: SegmentSink) {
    this.#sink = sink;
  }

  /**
   * Adds bytes; they may be changed by the caller afterwards.
   *
   * @throws {DumpfileError} for a line of more than 16 MiB
   */
  push(chunk: Uint8Array): void {
    const first = chunk.indexOf(NEWLINE);
    if (first < 0) {
      this.#carry(chunk);
      return;
    }
    let at = 0;
    if (this.#carriedLength > 0) {
      at = first + 1;
      this.#carry(chunk.subarray(0, at));
      this.#flush();
    }
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    while (at < end) {
      const limit = Math.min(at + SEGMENT, end);
      let cut = limit === end ? end : chunk.lastIndexOf(NEWLINE, limit - 1) + 1;
      if (cut <= at) cut = chunk.indexOf(NEWLINE, limit) + 1;
      if (cut - at > MAX_LINE) throw new DumpfileError("Line is too long");
      this.#emit(chunk.subarray(at, cut));
      at = cut;
    }
    if (at < chunk.length) this.#carry(chunk.subarray(at));
  }

  /** Hands out the last line when it has no newline. */
  finish(): void {
    if (this.#carriedLength > 0) this.#flush();
  }

  #carry(bytes: Uint8Array): void {
    this.#carriedLength += bytes.length;
    if (this.#carriedLength > MAX_LINE) throw new DumpfileError("Line is too long");
    this.#carried.push(bytes.slice());
  }

  #flush(): void {
    const whole = new Uint8Array(this.#carriedLength);
    let at = 0;
    for (const piece of this.#carried) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#carried = [];
    this.#carriedLength = 0;
    this.#emit(whole);
  }

  #emit(bytes: Uint8Array): void {
    this.#sink(bytes, latin1(bytes));
  }
}
