/**
 * Running processes in tests: captured output, time limit, wall time and peak memory.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

/** Top of the checkout under test, with a slash at the end. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** How to run a process. */
export interface RunOptions {
  /** What the process reads; nothing when absent. */
  stdin?: string | Uint8Array;
  /** Variables to add to our environment. */
  env?: Record<string, string>;
  /** Working directory. @default the current one */
  cwd?: string;
  /** Milliseconds after which the process and its children are killed. @default 60000 */
  timeout?: number;
  /** Measure peak memory with time(1). @default false */
  rss?: boolean;
}

/** What a process did. */
export interface RunResult {
  /** The command with its arguments. */
  command: readonly string[];
  /** Exit code; 128 + signal number when a signal ended it. */
  code: number;
  /** The signal that ended it, if one did. */
  signal: Deno.Signal | null;
  /** True when it was killed because the time was up. */
  timedOut: boolean;
  /** Standard output as bytes. */
  stdoutBytes: Uint8Array<ArrayBuffer>;
  /** Standard output as text. */
  stdout: string;
  /** Standard error as text. */
  stderr: string;
  /** Milliseconds from start to end. */
  wall: number;
  /** Peak resident memory in KiB of the biggest process; only with `rss`. */
  rssKiB?: number;
}

/** Waits for a process that a time limit may have ended; its children go with it. */
function killGroup(pid: number): void {
  try {
    Deno.kill(-pid, "SIGKILL");
  } catch (error) {
    // It ended in the moment between the timer and the kill.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * Runs a process to its end, whatever its exit code.
 *
 * @param command Program and arguments.
 * @param options Input, environment, limits and measurements.
 * @returns Exit code, output and measurements.
 */
export async function run(
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const rssFile = options.rss ? await Deno.makeTempFile({ prefix: "cfs-rss-" }) : undefined;
  try {
    const [program, ...args] = rssFile === undefined
      ? command
      : ["/usr/bin/time", "--quiet", "-f", "%M", "-o", rssFile, ...command];
    assert.ok(program !== undefined, "run() needs a program");
    const started = performance.now();
    const child = new Deno.Command(program, {
      args,
      stdin: options.stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
      detached: true, // a group of its own, so that the time limit reaches its children
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    }).spawn();
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child.pid);
    }, options.timeout ?? 60_000);
    try {
      const [output] = await Promise.all([child.output(), feed(child, options.stdin)]);
      const wall = performance.now() - started;
      const decoder = new TextDecoder();
      return {
        command,
        code: output.code,
        signal: output.signal,
        timedOut,
        stdoutBytes: output.stdout,
        stdout: decoder.decode(output.stdout),
        stderr: decoder.decode(output.stderr),
        wall,
        ...(rssFile === undefined ? {} : { rssKiB: Number(await Deno.readTextFile(rssFile)) }),
      };
    } finally {
      clearTimeout(timer);
    }
  } finally {
    if (rssFile !== undefined) await Deno.remove(rssFile);
  }
}

async function feed(child: Deno.ChildProcess, stdin: RunOptions["stdin"]): Promise<void> {
  if (stdin === undefined) return;
  const bytes = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
  const writer = child.stdin.getWriter();
  try {
    await writer.write(bytes);
    await writer.close();
  } catch (error) {
    // A process may end without reading all of its input; its exit code tells the rest.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/**
 * Runs a process that must succeed.
 *
 * @param command Program and arguments.
 * @param options As for `run()`.
 * @returns What it did.
 * @throws AssertionError with its output when the exit code is not 0.
 */
export async function runOk(
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await run(command, options);
  const reason = result.timedOut ? "ran out of time" : `exited with ${result.code}`;
  assert.ok(
    result.code === 0 && !result.timedOut,
    `${command.join(" ")} ${reason}\n${result.stdout}${result.stderr}`,
  );
  return result;
}

/**
 * The command line that starts this checkout's `cfs` under the Deno that runs the tests.
 *
 * @param args Arguments for `cfs`.
 * @returns Program and arguments for `run()`.
 */
export function cfsCommand(args: readonly string[] = []): string[] {
  return [Deno.execPath(), "run", "-A", "--quiet", `${ROOT}cli/main.ts`, ...args];
}

/**
 * Runs this checkout's `cfs`, without colours.
 *
 * @param args Arguments for `cfs`.
 * @param options As for `run()`.
 * @returns What it did, whatever its exit code.
 */
export function cfs(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return run(cfsCommand(args), { ...options, env: { NO_COLOR: "1", ...options.env } });
}

/**
 * Runs this checkout's `cfs`, which must succeed.
 *
 * @param args Arguments for `cfs`.
 * @param options As for `run()`.
 * @returns What it did.
 * @throws AssertionError with its output when the exit code is not 0.
 */
export function cfsOk(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return runOk(cfsCommand(args), { ...options, env: { NO_COLOR: "1", ...options.env } });
}
