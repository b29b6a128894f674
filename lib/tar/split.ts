import type { TarSplitSink } from "./entry.ts";
import { type TarEvents, TarMachine } from "./machine.ts";

/** Hands the machine's events to a sink, and counts. */
class SplitEvents implements TarEvents {
  readonly #sink: TarSplitSink;
  entries = 0;

  constructor(sink: TarSplitSink) {
    this.#sink = sink;
  }

  inline(bytes: Uint8Array): void {
    this.#sink.inline(bytes);
  }

  entry(): void {
    this.entries += 1;
  }

  small(): void {}

  externalStart(size: number): void {
    this.#sink.externalStart(size);
  }

  externalData(bytes: Uint8Array): void {
    this.#sink.externalData(bytes);
  }

  externalEnd(): void {
    this.#sink.externalEnd();
  }
}

/**
 * Splits a raw tar stream into inline bytes and the contents of regular files above 64 bytes
 * (spec: oci 2.1). Pieces of any size give the same parts, apart from where views are cut.
 */
export class TarSplitter {
  readonly #events: SplitEvents;
  readonly #machine: TarMachine;

  /** Splits into `sink`. */
  constructor(sink: TarSplitSink) {
    this.#events = new SplitEvents(sink);
    this.#machine = new TarMachine(this.#events);
  }

  /** Entries seen so far. */
  get entryCount(): number {
    return this.#events.entries;
  }

  /** Whether the end of the archive was seen; what follows is only passed on. */
  get ended(): boolean {
    return this.#machine.ended;
  }

  /**
   * Takes the next bytes of the stream; the sink is called before this returns.
   *
   * @throws {FormatError} at the first fault; the splitter must not be used afterwards
   */
  push(bytes: Uint8Array): void {
    this.#machine.push(bytes);
  }

  /**
   * Ends the stream. A clean end between two entries needs no end marker.
   *
   * @throws {FormatError} `unexpected EOF in tar stream`, `unexpected EOF reading tar entry` or
   *   `unexpected EOF reading tar padding`
   */
  finish(): void {
    this.#machine.finish();
  }
}
