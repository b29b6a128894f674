import { FormatError } from "../base/mod.ts";

/** How much of a faulty line an error shows, in characters. */
const SHOWN = 80;

/** A line of a dumpfile that cannot be accepted (spec: erofs 2.1). */
export class DumpfileError extends FormatError {
  /** What is wrong, in the reference's words where it has any. */
  readonly reason: string;
  /** Number of the line, from 1; 0 when the file as a whole is at fault. */
  readonly line: number;
  /** The line in printable ASCII, shortened to {@linkcode SHOWN} characters. */
  readonly text: string;

  /**
   * Creates an error.
   *
   * @param reason what is wrong
   * @param options the number and the text of the line; lines are numbered from 1
   */
  constructor(reason: string, options: ErrorOptions & { line?: number; text?: string } = {}) {
    const line = options.line ?? 0;
    const text = shorten(options.text ?? "");
    const message = line === 0
      ? `Failed to parse dumpfile: ${reason}`
      : `Failed to parse dumpfile line ${line}: ${reason}: "${text}"`;
    super("dumpfile", message, { ...options, offset: line });
    this.reason = reason;
    this.line = line;
    this.text = text;
  }

  /** The facts of the error as plain data, for `--json` outputs. */
  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), reason: this.reason, line: this.line, text: this.text };
  }
}

function shorten(text: string): string {
  const shown = text.length > SHOWN ? text.slice(0, SHOWN - 1) : text;
  const safe = shown.replace(
    /[^\x20-\x7e]/g,
    (unit) => "\\x" + (unit.charCodeAt(0) & 0xff).toString(16).padStart(2, "0"),
  );
  return safe + (text.length > SHOWN ? "…" : "");
}
