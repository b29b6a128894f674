/**
 * What every command works with: its outputs, the global options, warnings and progress.
 *
 * @module
 */
import type { ProgressEvent, ProgressSink } from "../lib/base/mod.ts";
import type { CommandUnknownOpts } from "./commander.ts";
import type { GlobalOptions } from "./globals.ts";
import { type ByteSink, Output } from "./output.ts";
import type { ProgressDisplay } from "./progress_display.ts";

/** What every command works with. */
export class Context {
  /** Name the program was called by. */
  readonly programName: string;
  /** Results go here and nothing else. */
  readonly stdout: Output;
  /** Everything else. */
  readonly stderr: Output;
  /** The global options; filled in before the command's action runs. */
  globals: GlobalOptions = {};
  /** Exit code when nothing is thrown. */
  exitCode = 0;
  /** Declares all commands that help shows, by their words; set when the program is put together. */
  declareAll: () => Promise<ReadonlyMap<string, CommandUnknownOpts>> = () =>
    Promise.resolve(new Map());
  /** Usage line of the command that was called, once it is known. */
  usage: string | undefined;

  /**
   * Starts without global options.
   *
   * @param options Name of the program and its outputs.
   */
  constructor(options: { programName: string; stdout: ByteSink; stderr: ByteSink }) {
    this.programName = options.programName;
    this.stdout = new Output(options.stdout);
    this.stderr = new Output(options.stderr, { optional: true });
  }

  /**
   * Shows a warning on standard error, unless `--quiet` is given.
   *
   * @param text One line.
   */
  warn(text: string): void {
    if (this.globals.quiet) return;
    this.stderr.line(`warning: ${text}`);
    this.stderr.flush();
  }

  /**
   * Shows something worth knowing on standard error, unless `--quiet` is given.
   *
   * @param text One line.
   */
  note(text: string): void {
    if (this.globals.quiet) return;
    this.stderr.line(`note: ${text}`);
    this.stderr.flush();
  }

  /**
   * Starts showing progress in the way asked for.
   *
   * @returns The display, to be disposed of when the work is done.
   */
  async progress(): Promise<ProgressDisplay> {
    const mode = this.globals.progress ?? "auto";
    const asked = this.globals.progress !== undefined;
    const bars = mode === "auto" && this.stderr.isTerminal;
    if (mode === "none" || (mode === "auto" && !bars) || (this.globals.quiet && !asked)) {
      return { sink: (event) => this.#warningOnly(event), [Symbol.dispose]() {} };
    }
    const { progressDisplay } = await import("./progress.ts");
    return progressDisplay(mode, this.stderr);
  }

  /**
   * Does what takes long, and shows how far it is; when this returns, the screen is free for results.
   *
   * @param work Gets the sink for its progress.
   * @returns What the work returns.
   */
  async working<T>(work: (progress: ProgressSink) => Promise<T>): Promise<T> {
    using display = await this.progress();
    return await work(display.sink);
  }

  #warningOnly(event: ProgressEvent): void {
    if (event.type === "warning") this.warn(event.text);
  }
}
