/**
 * What could come next on the command line: names of commands and options from the declarations,
 * values from the repository that the words themselves choose.
 *
 * @module
 */
import type { Candidate } from "./candidate.ts";
import { type CommandEntry, COMMANDS, findCommand, GROUPS } from "./command_table.ts";
import type { CommandUnknownOpts, Option } from "./commander.ts";
import { candidatesOf } from "./complete_values.ts";
import type { Context } from "./context.ts";
import { type CompletionSource, newCommand, sourceOf } from "./declare.ts";
import { addGlobalOptions, resolveGlobals } from "./globals.ts";
import { declareCommand, locateCommand } from "./program.ts";
import { TOOL_NAMES } from "./tool_names.ts";

/** What the shell should offer. */
export interface Completion {
  /** The words, all starting with what is there. */
  readonly candidates: readonly Candidate[];
  /** What the shell adds of its own. */
  readonly fallback: "files" | "directories" | "none";
}

const NOTHING: Completion = { candidates: [], fallback: "none" };

/** The options of a command by their spellings. */
function findOption(command: CommandUnknownOpts, word: string): Option | undefined {
  const name = word.split("=", 1)[0]!;
  return command.options.find(({ long, short }) => long === name || short === name);
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

/** Parsed as far as completion needs it. */
interface Position {
  /** Option whose value comes next. */
  pending: Option | undefined;
  /** Number of arguments before. */
  operands: number;
  /** Whether `--` ended the options. */
  ended: boolean;
  /** Values of options by their keys. */
  values: Record<string, unknown>;
}

function walk(command: CommandUnknownOpts, words: readonly string[]): Position {
  const position: Position = { pending: undefined, operands: 0, ended: false, values: {} };
  for (const word of words) {
    if (position.pending !== undefined) {
      position.values[position.pending.attributeName()] = word;
      position.pending = undefined;
    } else if (position.ended || !word.startsWith("-") || word === "-") position.operands++;
    else if (word === "--") position.ended = true;
    else {
      const option = findOption(command, word);
      if (option === undefined) continue;
      const equals = word.indexOf("=");
      if (!takesValue(option)) position.values[option.attributeName()] = true;
      else if (equals < 0) position.pending = option;
      else position.values[option.attributeName()] = word.slice(equals + 1);
    }
  }
  return position;
}

function starting(candidates: readonly Candidate[], current: string): Candidate[] {
  return candidates.filter(({ value }) => value.startsWith(current));
}

function optionCandidates(command: CommandUnknownOpts): Candidate[] {
  const all = command.options.filter(({ hidden }) => !hidden).flatMap((option) => {
    const description = option.description.split("\n")[0]!;
    return [option.long, option.short].filter((flag) => flag !== undefined).map((value) => ({
      value,
      description,
    }));
  });
  return [...all, { value: "--help", description: "Print help" }];
}

function commandCandidates(group: string | undefined): Candidate[] {
  const prefix = group === undefined ? "" : `${group} `;
  const entries = COMMANDS.filter(({ name, hidden }) =>
    !hidden && name.startsWith(prefix) && name.slice(prefix.length).split(" ").length === 1
  ).map(({ name, summary }) => ({ value: name.slice(prefix.length), description: summary }));
  const groups = group === undefined
    ? GROUPS.map(({ name, summary }) => ({ value: name, description: summary }))
    : [];
  const tools = group === undefined
    ? TOOL_NAMES.map((value) => ({ value, description: "The tool of this name" }))
    : [];
  return [...entries, ...groups, ...tools, { value: "help", description: "Print help" }];
}

/** Values of an option or argument, each with what stands before it in the word. */
async function valueCompletion(
  context: Context,
  current: string,
  of: {
    choices: readonly string[] | undefined;
    source: CompletionSource | undefined;
    otherwise: Completion["fallback"];
  },
): Promise<Completion> {
  if (of.choices !== undefined) {
    const candidates = of.choices.map((value) => ({ value, description: "" }));
    return { candidates: starting(candidates, current), fallback: "none" };
  }
  if (of.source === undefined) return { candidates: [], fallback: of.otherwise };
  if (of.source === "file") return { candidates: [], fallback: "files" };
  if (of.source === "directory") return { candidates: [], fallback: "directories" };
  const candidates = await candidatesOf(of.source, { context, current });
  return { candidates: starting(candidates, current), fallback: "none" };
}

async function optionValue(
  context: Context,
  command: CommandUnknownOpts,
  what: { option: Option; current: string; prefix: string },
): Promise<Completion> {
  const { option, current, prefix } = what;
  const completion = await valueCompletion(context, current, {
    choices: option.argChoices,
    source: sourceOf(command, option),
    otherwise: "none",
  });
  return {
    ...completion,
    candidates: completion.candidates.map((one) => ({ ...one, value: prefix + one.value })),
  };
}

/** Completes a word of which the command is known (or is the program itself). */
async function completeWord(
  context: Context,
  command: CommandUnknownOpts,
  at: { position: Position; current: string; names: readonly Candidate[] | undefined },
): Promise<Completion> {
  const { position, current, names } = at;
  if (position.pending !== undefined) {
    return await optionValue(context, command, { option: position.pending, current, prefix: "" });
  }
  if (!position.ended && current.startsWith("-")) {
    const equals = current.indexOf("=");
    if (equals < 0) {
      return { candidates: starting(optionCandidates(command), current), fallback: "none" };
    }
    const option = findOption(command, current);
    if (option === undefined) return NOTHING;
    const prefix = current.slice(0, equals + 1);
    return await optionValue(context, command, {
      option,
      current: current.slice(equals + 1),
      prefix,
    });
  }
  if (names !== undefined) return { candidates: starting(names, current), fallback: "none" };
  const { registeredArguments: declared } = command;
  const last = declared.at(-1);
  const index = position.operands < declared.length
    ? position.operands
    : last?.variadic
    ? declared.length - 1
    : -1;
  const argument = declared[index];
  if (argument === undefined) return NOTHING;
  return await valueCompletion(context, current, {
    choices: argument.argChoices,
    source: sourceOf(command, index),
    otherwise: "files",
  });
}

/** The program with its global options and nothing else. */
function bareProgram(): CommandUnknownOpts {
  const program = newCommand("cfs");
  addGlobalOptions(program, { hidden: false });
  return program;
}

/**
 * Completes the last word.
 *
 * @param words The words after the program's name; the last one is being typed.
 * @param context Its global options are set from the words.
 */
export async function complete(words: readonly string[], context: Context): Promise<Completion> {
  const before = words.slice(0, -1);
  const current = words.at(-1) ?? "";
  // Tools take everything that follows, and what follows is mostly files.
  if (TOOL_NAMES.some((name) => name === before[0])) return { candidates: [], fallback: "files" };
  const { words: names, end } = locateCommand(before);
  const entry: CommandEntry | undefined = findCommand(names);
  const program = bareProgram();
  const global = walk(program, entry === undefined ? before : before.slice(0, end));
  if (entry === undefined) {
    context.globals = resolveGlobals(global.values, {});
    const group = GROUPS.find(({ name }) => name === names[0])?.name;
    // A word that is no command's name: nothing can follow it.
    if (names.length > (group === undefined ? 0 : 1) && names[0] !== "help") return NOTHING;
    const wanted = commandCandidates(names[0] === "help" ? undefined : group);
    return await completeWord(context, program, { position: global, current, names: wanted });
  }
  const command = await declareCommand(entry, context);
  const position = walk(command, before.slice(end));
  context.globals = resolveGlobals(global.values, position.values);
  return await completeWord(context, command, { position, current, names: undefined });
}
