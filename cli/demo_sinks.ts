/** Outputs that the demonstration gives to the program. */
import type { OutputSink } from "./main.ts";

/** Collects what is written. */
export class Capture implements OutputSink {
  readonly #decoder = new TextDecoder();
  text = "";

  writeSync(bytes: Uint8Array): number {
    this.text += this.#decoder.decode(bytes, { stream: true });
    return bytes.length;
  }

  isTerminal(): boolean {
    return false;
  }
}

/** Moves lines to the right; the program writes whole lines at a time. */
export class Indented implements OutputSink {
  readonly #sink: OutputSink;

  constructor(sink: OutputSink) {
    this.#sink = sink;
  }

  writeSync(bytes: Uint8Array): number {
    const text = new TextDecoder().decode(bytes).replace(/^(?=.)/gm, "   ");
    this.#sink.writeSync(new TextEncoder().encode(text));
    return bytes.length;
  }

  isTerminal(): boolean {
    return this.#sink.isTerminal();
  }
}
