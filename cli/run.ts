/**
 * One call of the program, from its arguments to its exit code.
 *
 * @module
 */
import { Context } from "./context.ts";
import { reportError } from "./errors.ts";
import { resolveGlobals } from "./globals.ts";
import { takeJobs } from "./jobs.ts";
import { type ByteSink, ClosedPipeError, type Output, OutputError } from "./output.ts";
import { parseArgs } from "./parse.ts";
import { buildProgram, locateCommand } from "./program.ts";
import { findTool } from "./tools.ts";

/** How to run. */
export interface RunOptions {
  /** Name the program was called by. */
  programName: string;
  /** Standard output. */
  stdout: ByteSink;
  /** Standard error. */
  stderr: ByteSink;
}

/** How often the word may stand before it is taken for a command that is not there. */
const HELP_WORDS = 3;
const HELP_FLAGS: ReadonlySet<string> = new Set(["-h", "--help"]);

/** `help WORDS` means `WORDS --help`, and `help help` no more than `help`. */
function withoutHelpWords(args: readonly string[]): readonly string[] {
  let rest = args;
  for (let left = HELP_WORDS; left > 0; left--) {
    const { words, end } = locateCommand(rest);
    if (words.at(-1) !== "help") break;
    rest = [...rest.slice(0, end - 1), ...rest.slice(end), "--help"];
  }
  return rest;
}

/** Runs a command and leaves its exit code in the context. */
async function runCommand(args: readonly string[], context: Context): Promise<void> {
  const { program, target, known } = await buildProgram(args, context);
  if (!known) {
    const { refuseCommand } = await import("./not_yet.ts");
    refuseCommand(locateCommand(args).words);
  }
  program.hook("preAction", (_, action) => {
    context.globals = resolveGlobals(program.opts(), action.opts());
    takeJobs(action);
  });
  // There is no help for what is not there; the parser would show that of the level above.
  const given = known ? args : args.filter((arg) => !HELP_FLAGS.has(arg));
  await parseArgs(given, { program, target, context });
}

/** Writes what is pending before an error is told, which is bigger news than that it cannot be. */
function flushQuietly(output: Output): void {
  try {
    output.flush();
  } catch (error) {
    // The exit code tells a failure anyway.
    if (!(error instanceof ClosedPipeError || error instanceof OutputError)) throw error;
  }
}

/**
 * Runs the program.
 *
 * @param args Its arguments, without its name.
 * @param options Name and outputs.
 * @returns The exit code.
 */
export async function run(args: readonly string[], options: RunOptions): Promise<number> {
  const context = new Context(options);
  try {
    const given = options.programName === "cfs" ? withoutHelpWords(args) : args;
    const tool = await findTool(options.programName, given);
    if (tool !== undefined) {
      context.exitCode = await tool.run(context);
    } else {
      const completion = Deno.env.get("COMPLETE");
      if (completion) {
        const { answerCompletion } = await import("./complete_env.ts");
        context.exitCode = await answerCompletion(completion, args, context);
      } else {
        await runCommand(given, context);
      }
    }
    context.stdout.flush();
    context.stderr.flush();
    return context.exitCode;
  } catch (error) {
    if (error instanceof ClosedPipeError) return context.exitCode;
    flushQuietly(context.stdout);
    return reportError(error, {
      stderr: context.stderr,
      programName: context.programName,
      debug: context.globals.debug ?? args.includes("--debug"),
      ...(context.usage === undefined ? {} : { usage: `Usage: ${context.usage}` }),
    });
  }
}
