/**
 * The command line program `cfs`. This file is only the way in: what a call does not need is not
 * loaded.
 *
 * @example Ask for the version
 * ```ts
 * import { main } from "./main.ts";
 * import assert from "node:assert/strict";
 *
 * const written: Uint8Array[] = [];
 * const stdout = { writeSync: (b: Uint8Array) => written.push(b.slice()) && b.length, isTerminal: () => false };
 * assert.equal(await main(["--version"], { programName: "cfs", stdout }), 0);
 * assert.match(new TextDecoder().decode(written[0]), /^cfs \d/);
 * ```
 *
 * @module
 */
import { EXIT } from "./exit_codes.ts";
import { VERSION } from "./version.ts";

/** Where the program's output goes. */
export interface OutputSink {
  /** Writes some of the bytes and returns how many. */
  writeSync(bytes: Uint8Array): number;
  /** Whether a person is reading. */
  isTerminal(): boolean;
}

/** How to call the program from other code. */
export interface MainOptions {
  /** Name it is called by; some names make it another tool. @default "cfs" */
  programName?: string;
  /** Standard output. @default Deno.stdout */
  stdout?: OutputSink;
  /** Standard error. @default Deno.stderr */
  stderr?: OutputSink;
}

/**
 * Runs the program.
 *
 * @param args Its arguments, without its name.
 * @param options Name and outputs.
 * @returns The exit code, as in `exit_codes.ts`.
 */
export async function main(args: readonly string[], options: MainOptions = {}): Promise<number> {
  const { programName = "cfs", stdout = Deno.stdout, stderr = Deno.stderr } = options;
  if (args.length === 1 && (args[0] === "--version" || args[0] === "-V")) {
    // Most scripts that call this only want to know whether it is there.
    if (programName === "cfs") {
      try {
        stdout.writeSync(new TextEncoder().encode(`${programName} ${VERSION}\n`));
        return EXIT.ok;
      } catch (error) {
        // Nobody reads it; that is no failure of ours. Others are met and told by what follows.
        if (error instanceof Deno.errors.BrokenPipe) return EXIT.ok;
      }
    }
  }
  let program;
  try {
    program = await import("./run.ts");
  } catch (error) {
    // From a clone, modules are loaded when they are needed, and that needs a permission.
    if (!(error instanceof TypeError && error.message.startsWith("Requires read access"))) {
      throw error;
    }
    stderr.writeSync(new TextEncoder().encode(`error: ${error.message}\n`));
    return EXIT.failed;
  }
  return await program.run(args, { programName, stdout, stderr });
}

/** Name of the program as the caller spelled it, when that is a name of ours. */
function calledAs(): string {
  let argv0: string;
  try {
    argv0 = Deno.readTextFileSync("/proc/self/cmdline").split("\0")[0]!;
  } catch (error) {
    // Without /proc nothing but the usual name is possible.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) {
      return "cfs";
    }
    throw error;
  }
  const name = argv0.slice(argv0.lastIndexOf("/") + 1);
  return /^(mkcomposefs|composefs-info|composefs-dump|mount\.composefs)$/.test(name) ? name : "cfs";
}

/**
 * Whether the arguments were other bytes: the runtime replaces what is not UTF-8, and a file of the
 * name that it makes of it is another file.
 */
function argumentsAreLost(): boolean {
  if (!Deno.args.some((arg) => arg.includes("\ufffd"))) return false;
  try {
    const bytes = Deno.readFileSync("/proc/self/cmdline");
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return false;
  } catch (error) {
    if (error instanceof TypeError) return true;
    // The bytes cannot be had, so what the runtime says must do.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) {
      return false;
    }
    throw error;
  }
}

async function runProcess(): Promise<number> {
  if (!argumentsAreLost()) return await main(Deno.args, { programName: calledAs() });
  const message = "error: invalid UTF-8 was detected in one or more arguments\n";
  Deno.stderr.writeSync(new TextEncoder().encode(message));
  return EXIT.usage;
}

if (import.meta.main) Deno.exit(await runProcess());
