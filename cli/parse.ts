/**
 * Parsing with our outputs, help and errors; then the command's action runs.
 *
 * @module
 */
import { CommanderError, type CommandUnknownOpts } from "./commander.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./exit_codes.ts";
import { checkGiven, refuseRepeated } from "./given_values.ts";
import { commandsFirst } from "./headings.ts";
import { usageError, usageOf } from "./usage.ts";

/** Columns of help texts. */
const HELP_WIDTH = 100;

/** Errors are thrown and texts go to our outputs, for a command and all below it. */
function prepare(command: CommandUnknownOpts, context: Context): void {
  command.exitOverride();
  command.helpOption("-h, --help", "Print help");
  command.helpCommand(false);
  command.configureOutput({
    writeOut: (text) => context.stdout.write(text),
    writeErr: (text) => context.stderr.write(text),
    // Errors are thrown as well, and shown by us.
    outputError: () => {},
    getOutHelpWidth: () => HELP_WIDTH,
    getErrHelpWidth: () => HELP_WIDTH,
  });
  command.configureHelp({
    commandUsage: usageOf,
    // Paragraphs are filled to the width of help texts, wherever the code breaks its lines.
    commandDescription: (one) => one.description().replace(/(?<!\n)\n(?!\n)/g, " "),
    showGlobalOptions: false,
    ...(command.commands.length > 0 ? { formatHelp: commandsFirst } : {}),
  });
  refuseRepeated(command);
  for (const below of command.commands) prepare(below, context);
}

/** What to parse with. */
export interface ParseTarget {
  /** The outermost command. */
  program: CommandUnknownOpts;
  /** The command whose usage errors show; by default the outermost. */
  target?: CommandUnknownOpts;
  /** Outputs, and where the exit code is left. */
  context: Context;
}

/**
 * Parses arguments and runs the action they ask for.
 *
 * @param args The arguments.
 * @param options The declared program, and the outputs.
 * @throws {UsageError} when they do not fit the declaration; else what the action throws
 */
export async function parseArgs(args: readonly string[], options: ParseTarget): Promise<void> {
  const { program, target = program, context } = options;
  prepare(program, context);
  program.hook("preAction", (outer, action) => {
    if (outer !== action) checkGiven(outer);
    checkGiven(action);
  });
  context.usage = usageOf(target);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    // No command at all: the help has been shown.
    if (error.code !== "commander.help") throw usageError(error);
    context.exitCode = EXIT.usage;
  }
}
