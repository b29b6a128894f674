/**
 * Scripts: command lines with what they print and how they end, in the form
 *
 * ```text
 * # a comment
 * ! a shell command that prepares something and must succeed
 * $ cfs images
 * No images found
 * stderr: a line on standard error
 * [exit 0]
 * ```
 *
 * `<hex>` stands for lower-case hex digits, `<any>` for anything but a line's end.
 *
 * @module
 */
import { ROOT, run, type RunResult } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

/** A line of a script that does something. */
export interface Step {
  /** Line number, from 1. */
  line: number;
  /** Whether it only prepares. */
  setup: boolean;
  /** Shell command. */
  command: string;
  /** Expected lines. */
  stdout: string[];
  /** Expected lines. */
  stderr: string[];
  /** Expected exit code. */
  code: number;
}

/** Parses a script. */
export function parseScript(text: string): Step[] {
  const steps: Step[] = [];
  let open = false;
  text.split("\n").forEach((line, index) => {
    const setup = line.startsWith("! ");
    const exit = /^\[exit (\d+)\]$/.exec(line);
    const step = steps.at(-1);
    if (open && step !== undefined) {
      if (exit !== null) {
        step.code = Number(exit[1]);
        open = false;
      } else if (line.startsWith("stderr: ")) step.stderr.push(line.slice("stderr: ".length));
      else if (line === "stderr:") step.stderr.push("");
      else step.stdout.push(line);
    } else if (setup || line.startsWith("$ ")) {
      const command = line.slice(2);
      steps.push({ line: index + 1, setup, command, stdout: [], stderr: [], code: 0 });
      open = !setup;
    } else if (line !== "" && !line.startsWith("#")) {
      throw new Error(`line ${index + 1}: neither a comment nor a step: ${line}`);
    }
  });
  if (open) throw new Error("the last step has no [exit N]");
  return steps;
}

const PATTERNS: Readonly<Record<string, string>> = { "<hex>": "[0-9a-f]+", "<any>": ".*" };

/** Whether a printed line is what a script expects. */
export function lineMatches(expected: string, actual: string): boolean {
  const parts = expected.split(/(<hex>|<any>)/);
  const pattern = parts.map((part) => PATTERNS[part] ?? RegExp.escape(part)).join("");
  return new RegExp(`^${pattern}$`, "u").test(actual);
}

/** The lines of an output; what follows the last newline is a line of its own only if not empty. */
export function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** Where Deno keeps packages; a script's home directory is empty. */
function denoDir(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`;
  return Deno.env.get("DENO_DIR") ?? `${cache}/deno`;
}

/** A directory to run scripts in, with `cfs` on the search path. */
export class Sandbox implements Disposable {
  readonly #dir = new TempDir();

  /** Makes it. */
  constructor() {
    const main = `${ROOT}cli/main.ts`;
    const script = `#!/bin/sh\nexec '${Deno.execPath()}' run -A --quiet '${main}' "$@"\n`;
    Deno.chmodSync(this.#dir.write("bin/cfs", script), 0o755);
    Deno.mkdirSync(this.path);
  }

  /** Where commands run. */
  get path(): string {
    return this.#dir.join("work");
  }

  /** Runs a shell command. */
  shell(command: string): Promise<RunResult> {
    return run(["sh", "-c", `umask 022\n${command}`], {
      cwd: this.path,
      env: {
        PATH: `${this.#dir.join("bin")}:${Deno.env.get("PATH")}`,
        FIXTURES: `${ROOT}fixtures`,
        HOME: this.path,
        DENO_DIR: denoDir(),
        NO_COLOR: "1",
        LC_ALL: "C",
      },
    });
  }

  /** Removes it. */
  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

/** Writes what a step really did in the form of a script. */
export function formatResult(command: string, result: RunResult): string {
  const stderr = linesOf(result.stderr).map((line) => line === "" ? "stderr:" : `stderr: ${line}`);
  return [`$ ${command}`, ...linesOf(result.stdout), ...stderr, `[exit ${result.code}]`].join("\n");
}
