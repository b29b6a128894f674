/**
 * Writing results: text and bytes in order, to a pipe that may be slow or closed.
 *
 * @module
 */
import { printableJson, printableLines } from "./printable.ts";

/** Where bytes go; `Deno.stdout` and `Deno.stderr` are such sinks. */
export interface ByteSink {
  /** Writes some of the bytes and returns how many. */
  writeSync(bytes: Uint8Array): number;
  /** Whether a person is reading. */
  isTerminal(): boolean;
}

/** The reader of our output has gone; the program ends quietly. */
export class ClosedPipeError extends Error {
  override name = "ClosedPipeError";
}

/** The output cannot be written, for example to a full disk. */
export class OutputError extends Error {
  override name = "OutputError";
}

/** Characters gathered before they are written. */
const FLUSH_AT = 1 << 16;

/** A terminal shared with another program may be non-blocking: how long to wait for it, in ms. */
const RETRY_MS = 2;

const encoder = new TextEncoder();

/** Buffers text and writes it, and bytes, completely and in order. */
export class Output {
  readonly #sink: ByteSink;
  readonly #optional: boolean;
  #pending: string[] = [];
  #size = 0;

  /**
   * Starts with nothing pending.
   *
   * @param sink Where it goes.
   * @param options `optional`: go on working when nobody reads it; else that is an error.
   */
  constructor(sink: ByteSink, options: { optional?: boolean } = {}) {
    this.#sink = sink;
    this.#optional = options.optional ?? false;
  }

  /** Whether a person is reading. */
  get isTerminal(): boolean {
    return this.#sink.isTerminal();
  }

  /**
   * Adds text as it is.
   *
   * @param text Any text; ASCII for byte strings.
   * @throws {ClosedPipeError} when the reader has gone
   */
  write(text: string): void {
    this.#pending.push(text);
    this.#size += text.length;
    if (this.#size >= FLUSH_AT) this.flush();
  }

  /**
   * Adds a line, or several, for people: what would move the cursor is shown as an escape.
   *
   * @param text The line without its newline.
   * @throws {ClosedPipeError} when the reader has gone
   */
  line(text: string): void {
    this.write(printableLines(text));
    this.write("\n");
  }

  /**
   * Adds a JSON document as the reference prints it: two spaces, a newline at the end.
   *
   * @param value Anything JSON can hold.
   * @throws {ClosedPipeError} when the reader has gone
   */
  json(value: unknown): void {
    this.write(`${printableJson(JSON.stringify(value, null, 2))}\n`);
  }

  /**
   * Adds a JSON document as one line.
   *
   * @param value Anything JSON can hold.
   * @throws {ClosedPipeError} when the reader has gone
   */
  jsonLine(value: unknown): void {
    this.write(`${printableJson(JSON.stringify(value))}\n`);
  }

  /**
   * Writes bytes, after the text before them. A slow reader is waited for.
   *
   * @param bytes Read before the call returns.
   * @throws {ClosedPipeError} when the reader has gone
   */
  bytes(bytes: Uint8Array): void {
    this.flush();
    this.#writeAll(bytes);
  }

  /**
   * Writes what is pending.
   *
   * @throws {ClosedPipeError} when the reader has gone
   */
  flush(): void {
    if (this.#size === 0) return;
    const text = this.#pending.join("");
    this.#pending = [];
    this.#size = 0;
    this.#writeAll(encoder.encode(text));
  }

  #writeAll(bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      try {
        done += this.#sink.writeSync(done === 0 ? bytes : bytes.subarray(done));
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) {
          if (this.#optional) return;
          throw new ClosedPipeError("The reader has gone", { cause: error });
        }
        if (!(error instanceof Deno.errors.WouldBlock)) {
          // What cannot be said on standard error is said by the exit code.
          if (this.#optional) return;
          throw new OutputError("Writing standard output", { cause: error });
        }
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
  }
}
