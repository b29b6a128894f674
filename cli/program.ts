/**
 * Putting the program together for one call: the global options, and either the one command that is
 * meant or, for help and for wrong words, all names.
 *
 * @module
 */
import { type CommandEntry, COMMANDS, findCommand, GROUPS } from "./command_table.ts";
import type { CommandUnknownOpts } from "./commander.ts";
import type { Context } from "./context.ts";
import { newCommand, withNotes } from "./declare.ts";
import { UsageError } from "./errors.ts";
import { addGlobalOptions, GLOBAL_VALUE_FLAGS } from "./globals.ts";
import { HEADINGS } from "./headings.ts";
import { VERSION } from "./version.ts";

/** The command's words in the arguments, and where they end. */
export interface Located {
  /** Up to two words. */
  readonly words: readonly string[];
  /** Index of the argument after the last word. */
  readonly end: number;
}

/**
 * Finds the command's words among the global options.
 *
 * @param args Arguments of the program.
 */
export function locateCommand(args: readonly string[]): Located {
  const words: string[] = [];
  let i = 0;
  for (; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") break;
    if (arg.startsWith("-") && arg !== "-") {
      if (GLOBAL_VALUE_FLAGS.has(arg)) i++;
      continue;
    }
    words.push(arg);
    if (words.length === 2 || !GROUPS.some(({ name }) => name === arg)) {
      return { words, end: i + 1 };
    }
  }
  return { words, end: i };
}

/** A program ready to parse. */
export interface Program {
  /** The program. */
  readonly program: CommandUnknownOpts;
  /** The command or group that errors are about. */
  readonly target: CommandUnknownOpts;
  /** Whether the words name a command, a group, or nothing at all. */
  readonly known: boolean;
}

function lastWord(entry: CommandEntry): string {
  return entry.name.slice(entry.name.lastIndexOf(" ") + 1);
}

/** A command that is only shown, and told apart where it was not meant as one. */
function newStub(entry: CommandEntry): CommandUnknownOpts {
  const name = lastWord(entry);
  // Only reached where `--` comes before the name, which makes it none.
  return newCommand(name).summary(entry.summary).description(entry.summary)
    .allowUnknownOption().allowExcessArguments().action(() => {
      throw new UsageError(`unexpected argument '${name}' found`, {
        details: [`tip: subcommand '${name}' exists; to use it, remove the '--' before it`],
      });
    });
}

/** Adds all commands of a group, arranged by headings; those of the program with the groups. */
function addStubs(parent: CommandUnknownOpts, group: string): void {
  const prefix = group === "" ? "" : `${group} `;
  for (const [heading, names] of HEADINGS[group] ?? []) {
    for (const name of names) {
      const entry = findCommand(`${prefix}${name}`.split(" "));
      const inner = group === "" ? GROUPS.find((one) => one.name === name) : undefined;
      if (inner === undefined && entry === undefined) continue;
      const command = inner === undefined ? newStub(entry!) : newGroup(inner);
      parent.addCommand(command.helpGroup(heading), { hidden: entry?.hidden ?? false });
    }
  }
}

/**
 * Declares one command with the options every command has.
 *
 * @param entry Its place in the table.
 * @param context What its action works with.
 */
export async function declareCommand(
  entry: CommandEntry,
  context: Context,
): Promise<CommandUnknownOpts> {
  const module = await entry.load();
  const command = module.command(context);
  if (entry.aliases !== undefined) command.aliases(entry.aliases);
  addGlobalOptions(command, { hidden: true });
  return command;
}

async function declareAll(context: Context): Promise<Map<string, CommandUnknownOpts>> {
  const commands = new Map<string, CommandUnknownOpts>();
  for (const entry of COMMANDS) {
    if (!entry.hidden) commands.set(entry.name, await declareCommand(entry, context));
  }
  return commands;
}

function newGroup(group: { name: string; summary: string }): CommandUnknownOpts {
  return newCommand(group.name).summary(group.summary).description(group.summary)
    .enablePositionalOptions();
}

/**
 * Puts the program together.
 *
 * @param args Arguments of the program; only the command's words matter.
 * @param context What the command's action works with.
 */
export async function buildProgram(args: readonly string[], context: Context): Promise<Program> {
  const { words } = locateCommand(args);
  const entry = findCommand(words);
  const program: CommandUnknownOpts = newCommand(context.programName)
    .description("Build, check and mount composefs images and their repositories")
    .version(`${context.programName} ${VERSION}`, "-V, --version", "Print version")
    .enablePositionalOptions();
  withNotes(program, {
    examples: [
      "cfs --repo /tmp/r init --insecure",
      "cfs --repo /tmp/r oci pull oci:layout:latest myimage",
      "cfs --repo /tmp/r oci images",
    ],
  });
  program.addHelpText("after", "\n'cfs COMMAND --help' has a command's options and examples.");
  addGlobalOptions(program, { hidden: false });
  context.declareAll = () => declareAll(context);
  let target = program;
  const wantedGroup = GROUPS.find(({ name }) => name === words[0]);
  if (entry !== undefined) {
    const parent = wantedGroup === undefined ? program : newGroup(wantedGroup);
    if (parent !== program) program.addCommand(parent);
    target = await declareCommand(entry, context);
    parent.addCommand(target);
  } else {
    addStubs(program, "");
    for (const command of program.commands) {
      addStubs(command, command.name());
      if (command.name() === wantedGroup?.name) target = command;
    }
  }
  const known = entry !== undefined || words.length === (wantedGroup === undefined ? 0 : 1);
  return { program, target, known };
}
