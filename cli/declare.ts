/**
 * How commands are declared: one function a command, with examples and what completes each word.
 *
 * @module
 */
import { ComposefsError } from "../lib/base/mod.ts";
import {
  Command,
  type CommandUnknownOpts,
  InvalidArgumentError,
  type Option,
} from "./commander.ts";
import type { Context } from "./context.ts";

/** Where the possible values of an argument or option come from. */
export type CompletionSource =
  | "image"
  | "stream"
  | "tag"
  | "manifest"
  | "tag-or-manifest"
  | "layer"
  | "ostree-tag"
  | "ostree-commit"
  | "ostree-remote"
  | "root"
  | "image-path"
  | "file"
  | "directory"
  | "source"
  | "destination"
  | "tag-or-source"
  | "platform"
  | "xattrs";

/** What a command says beyond its options and arguments. */
export interface Notes {
  /** Command lines that work, with `cfs` as the program. */
  examples: readonly string[];
  /** Completion by argument index or option flag (`"--root"`). */
  complete?: Readonly<Record<string, CompletionSource>>;
}

/** A file in `commands/`. */
export interface CommandModule {
  /**
   * Declares the command.
   *
   * @param context What its action works with.
   */
  command(context: Context): CommandUnknownOpts;
}

const notes = new WeakMap<CommandUnknownOpts, Notes>();

/**
 * A command without options yet, that reports errors by throwing.
 *
 * @param name Its last word.
 */
export function newCommand(name: string): Command {
  return new Command(name);
}

/**
 * Adds examples and completions to a declared command.
 *
 * @param command The command.
 * @param more Its examples and completions.
 * @returns The same command.
 */
export function withNotes(command: CommandUnknownOpts, more: Notes): CommandUnknownOpts {
  notes.set(command, more);
  const lines = more.examples.map((line) => `  ${line}\n`).join("");
  return command.addHelpText("after", `\nExamples:\n${lines.trimEnd()}`);
}

/**
 * The examples and completions of a command.
 *
 * @param command A declared command.
 */
export function notesOf(command: CommandUnknownOpts): Notes {
  return notes.get(command) ?? { examples: [] };
}

/** Options that mean the same in every command which has them. */
const SHARED_SOURCES: Readonly<Record<string, CompletionSource>> = {
  "--repo": "directory",
  "--platform": "platform",
  "--xattrs": "xattrs",
  "--authfile": "file",
  "--cert-dir": "directory",
  "--digestfile": "file",
  "--gpg-keyring": "file",
  "--lookaside": "directory",
  "--policy": "file",
  "--registries.d": "directory",
  "--remote": "ostree-remote",
  "--sign-keyfile": "file",
  "--tls-ca-path": "file",
  "--tls-client-cert-path": "file",
  "--tls-client-key-path": "file",
  "--upperdir": "directory",
  "--workdir": "directory",
};

/**
 * Where the values of an option or argument come from.
 *
 * @param command A declared command.
 * @param place The option, or the argument's index.
 */
export function sourceOf(
  command: CommandUnknownOpts,
  place: Option | number,
): CompletionSource | undefined {
  const { complete = {} } = notesOf(command);
  if (typeof place === "number") return complete[String(place)];
  const flag = place.long ?? "";
  return complete[flag] ?? SHARED_SOURCES[flag];
}

/**
 * Turns a parse function into one for an option or argument: its errors become usage errors.
 *
 * @param parse Throws a ComposefsError when the text is wrong.
 */
export function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return function parseValue(text: string): T {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      throw new InvalidArgumentError(error.message);
    }
  };
}

const required = new WeakSet<Option>();

/**
 * Declares that an option must be given. The parser's own way to say so would tell of it before
 * options that it does not know.
 *
 * @param option The option.
 * @returns The same option.
 */
export function requiredOption<T extends Option>(option: T): T {
  required.add(option);
  return option;
}

/**
 * Whether an option must be given.
 *
 * @param option The option.
 */
export function isRequired(option: Option): boolean {
  return required.has(option);
}

/**
 * A parse function for an option that may be given several times.
 *
 * @param text The value.
 * @param previous The values before.
 */
export function collect(text: string, previous: string[] | undefined): string[] {
  return [...previous ?? [], text];
}
