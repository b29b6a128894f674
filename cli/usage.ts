/** Turning the parser's complaints into the words of the reference's parser. */
import type { Argument, CommanderError, CommandUnknownOpts, Option } from "./commander.ts";
import { isRequired } from "./declare.ts";
import { UsageError } from "./errors.ts";

/**
 * How an option is written in messages: without its short form.
 *
 * @param option A declared option.
 */
export function longForm(option: Option): string {
  return option.flags.replace(/^-\w, /, "");
}

/** The command's name with those above it, for example `cfs oci pull`. */
function commandPath(command: CommandUnknownOpts): string {
  const names: string[] = [];
  for (let at: CommandUnknownOpts | null = command; at !== null; at = at.parent) {
    names.unshift(at.name());
  }
  return names.join(" ");
}

/**
 * How an argument is written where it is asked for: `<PATH>`, `[FILES]...`.
 *
 * @param argument A declared argument.
 */
export function placeOf(argument: Argument): string {
  const name = argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
  return argument.variadic ? `${name}...` : name;
}

/**
 * The usage line of a command, without `Usage: `.
 *
 * @param command A declared command.
 */
export function usageOf(command: CommandUnknownOpts): string {
  return [commandPath(command), ...usageWords(command)].join(" ");
}

/**
 * What follows a command's name in its usage line.
 *
 * @param command A declared command.
 */
export function usageWords(command: CommandUnknownOpts): string[] {
  const words: string[] = [];
  if (command.options.some((option) => !option.hidden)) words.push("[OPTIONS]");
  for (const option of command.options) {
    if (isRequired(option)) words.push(longForm(option));
  }
  for (const argument of command.registeredArguments) words.push(placeOf(argument));
  if (command.commands.length > 0) words.push("<COMMAND>");
  return words;
}

function quoted(message: string): string[] {
  return [...message.matchAll(/'((?:[^'\\]|\\.)*)'/g)].map((match) => match[1]!);
}

function suggestions(message: string, kind: string): string[] {
  const found = /\(Did you mean (?:one of )?(.*)\?\)/s.exec(message)?.[1];
  if (found === undefined) return [];
  const names = found.split(", ").map((name) => `'${name}'`);
  return names.length === 1
    ? [`tip: a similar ${kind} exists: ${names[0]}`]
    : [`tip: some similar ${kind}s exist: ${names.join(", ")}`];
}

/** `option '--hash <HASH>' argument 'x' is invalid. Why.` and the same for arguments. */
const INVALID_OPTION = /^error: option '(?:-\w, )?(.*?)' argument '(.*)' is invalid\. ?(.*)$/s;
const INVALID_ARGUMENT =
  /^error: command-argument value '(.*)' is invalid for argument '(.*?)'\. ?(.*)$/s;
const ALLOWED = /^Allowed choices are (.*)\.$/s;

function invalidValue(message: string): UsageError | undefined {
  const option = INVALID_OPTION.exec(message);
  const argument = option === null ? INVALID_ARGUMENT.exec(message) : null;
  const [value, place, why] = option !== null
    ? [option[2]!, option[1]!, option[3]!]
    : argument !== null
    ? [argument[1]!, `<${argument[2]}>`, argument[3]!]
    : [undefined, "", ""];
  if (value === undefined) return undefined;
  const allowed = ALLOWED.exec(why)?.[1];
  const text = `invalid value '${value}' for '${place}'`;
  return allowed === undefined
    ? new UsageError(`${text}${why === "" ? "" : `: ${why}`}`, { showUsage: false })
    : new UsageError(text, { details: [`[possible values: ${allowed}]`], showUsage: false });
}

/**
 * A usage error with the meaning of a parser's error.
 *
 * @param error What the parser threw.
 */
export function usageError(error: CommanderError): UsageError {
  const { message } = error;
  const [first = ""] = quoted(message);
  switch (error.code) {
    case "commander.unknownOption":
      return new UsageError(`unexpected argument '${first}' found`, {
        details: suggestions(message, "argument"),
      });
    case "commander.unknownCommand":
      return new UsageError(`unrecognized subcommand '${first}'`, {
        details: suggestions(message, "subcommand"),
      });
    case "commander.missingArgument":
      return new UsageError("the following required arguments were not provided:", {
        details: [`<${first}>`],
      });
    case "commander.excessArguments": {
      const [, expected = "0", extra = ""] =
        /Expected (\d+) arguments? but got \d+: (.*)\.$/s.exec(message) ?? [];
      const unexpected = extra.split(", ")[Number(expected)] ?? "";
      return new UsageError(`unexpected argument '${unexpected}' found`);
    }
    case "commander.optionMissingArgument":
      return new UsageError(
        `a value is required for '${first.replace(/^-\w, /, "")}' but none was supplied`,
        { showUsage: false },
      );
    case "commander.conflictingOption": {
      const [one = "", other = ""] = quoted(message);
      return new UsageError(`the argument '${one}' cannot be used with '${other}'`);
    }
    case "commander.invalidArgument":
      return invalidValue(message) ?? new UsageError(message.replace(/^error: /, ""));
    default:
      return new UsageError(message.replace(/^error: /, ""));
  }
}

/**
 * The error for arguments that must come together.
 *
 * @param missing Their flags, for example `--workdir <WORKDIR>`.
 */
export function missingArguments(missing: readonly string[]): UsageError {
  return new UsageError("the following required arguments were not provided:", {
    details: missing,
  });
}
