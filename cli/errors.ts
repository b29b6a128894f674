/**
 * What a user sees of a failure: what failed on what, the causes, a hint, and the exit code.
 *
 * @module
 */
import { ComposefsError, type ComposefsErrorOptions } from "../lib/base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { hintFor } from "./hints.ts";
import { type Output, OutputError } from "./output.ts";

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
  /** Lines that help to put it right, shown indented. */
  readonly details: readonly string[];
  /** Whether the usage line helps here. */
  readonly showUsage: boolean;

  /**
   * Creates the error.
   *
   * @param message What is wrong, in the words of the reference's parser.
   * @param options `details`: lines to show below, `showUsage`: whether the usage line helps.
   */
  constructor(message: string, options: { details?: readonly string[]; showUsage?: boolean } = {}) {
    super(message);
    this.details = options.details ?? [];
    this.showUsage = options.showUsage ?? true;
  }
}

/** A failure whose only news is its message, for example `fsck` after its report. */
export class FailedError extends ComposefsError {
  /**
   * Creates the error.
   *
   * @param message Shown after `Error: `.
   * @param options What exactly is the matter, for advice.
   */
  constructor(message: string, options: ComposefsErrorOptions = {}) {
    super("CFS_FAILED", message, options);
  }
}

/** How to show an error. */
export interface ReportOptions {
  /** Standard error. */
  stderr: Output;
  /** Name the program was called by. */
  programName: string;
  /** Whether to add stack traces. */
  debug: boolean;
  /** Usage line of the command that was called. */
  usage?: string;
}

/** Deno's own messages put the reason first: `No such file or directory (os error 2): open 'x'`. */
const DENO_MESSAGE = /^(.*\(os error \d+\)): (.+)$/s;
/** Ours put it last: `openat x: No such file or directory (os error 2)`. */
const ERRNO_MESSAGE = /^(\w+)(?: (.*))?: ([^:]*\(os error \d+\))$/s;

/** The lines of the cause chain, outermost first. */
export function causeChain(error: unknown): string[] {
  const lines: string[] = [];
  const seen = new Set<unknown>();
  for (let at = error; at !== undefined && at !== null && !seen.has(at);) {
    seen.add(at);
    const message = at instanceof Error ? at.message || at.name : String(at);
    const above = lines.at(-1);
    if (above === undefined) {
      lines.push(message);
    } else if (at instanceof Error) {
      lines.push(...splitReason(message, above));
    } else {
      lines.push(message);
    }
    at = at instanceof Error ? at.cause : undefined;
  }
  return lines.filter((line, i) => line !== lines[i - 1]);
}

/**
 * The whole cause chain in one line.
 *
 * @param error What was thrown.
 */
export function reasonOf(error: unknown): string {
  return causeChain(error).join(": ");
}

/** A system call's failure as its place and its reason; the place only when it is news. */
function splitReason(message: string, above: string): string[] {
  const deno = DENO_MESSAGE.exec(message);
  const ours = ERRNO_MESSAGE.exec(message);
  const place = deno?.[2] ?? (ours === null ? undefined : `${ours[1]} ${ours[2] ?? ""}`.trim());
  const reason = deno?.[1] ?? ours?.[3];
  if (place === undefined || reason === undefined) return [message];
  const path = deno === null ? ours?.[2] : /'(.*)'/s.exec(place)?.[1];
  return path === undefined || above.includes(path) ? [reason] : [place, reason];
}

/** Further lines of a message are moved under its first. */
function indented(text: string, indent: string): string {
  return text.replaceAll("\n", "\n" + indent);
}

/** A failure that nobody meant to throw: a fault of this program. */
function isUnexpected(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError ||
    error instanceof ReferenceError || error instanceof SyntaxError || !(error instanceof Error);
}

/**
 * Shows an error and says with which code to exit.
 *
 * @param error What was thrown.
 * @param options Where and how.
 * @returns The exit code.
 */
export function reportError(error: unknown, options: ReportOptions): number {
  const { stderr } = options;
  if (error instanceof UsageError) {
    stderr.line(`error: ${error.message}`);
    for (const line of error.details) {
      stderr.line(`${line.startsWith("tip: ") ? "\n" : ""}  ${line}`);
    }
    if (error.showUsage && options.usage !== undefined) stderr.write(`\n${options.usage}\n`);
    stderr.line("\nFor more information, try '--help'.");
    stderr.flush();
    return EXIT.usage;
  }
  const [outer, ...causes] = causeChain(error);
  const prefix = isUnexpected(error) ? "unexpected failure: " : "";
  stderr.line(`Error: ${prefix}${outer}`);
  if (causes.length > 0) stderr.line("\nCaused by:");
  causes.forEach((cause, i) => {
    const number = causes.length === 1 ? "" : `${i}: `;
    stderr.line(`    ${number}${indented(cause, "       ")}`);
  });
  const hint = isUnexpected(error)
    ? "this is a fault of the program; run it again with --debug to see where"
    : error instanceof OutputError
    ? undefined
    : hintFor(error, options.programName);
  if (hint !== undefined) stderr.line(`\nhint: ${hint}`);
  if (options.debug) {
    for (let at = error; at instanceof Error; at = at.cause) {
      stderr.line(`\n${at.stack}`);
    }
  }
  stderr.flush();
  return EXIT.failed;
}
