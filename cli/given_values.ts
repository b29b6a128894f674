/**
 * What the reference's parser refuses and ours lets pass: options given twice or not at all, and
 * empty paths.
 *
 * @module
 */
import type { CommandUnknownOpts } from "./commander.ts";
import { collect, isRequired, sourceOf } from "./declare.ts";
import { UsageError } from "./errors.ts";
import { longForm, missingArguments, placeOf } from "./usage.ts";

/** Kinds of values of which an empty one is a slip, such as an unset variable of a script. */
const NEVER_EMPTY: ReadonlySet<string | undefined> = new Set([
  "destination",
  "directory",
  "file",
  "image-path",
  "source",
  "tag-or-source",
]);

/**
 * Makes a command refuse options that are given twice; only the last one would count.
 *
 * @param command A declared command.
 */
export function refuseRepeated(command: CommandUnknownOpts): void {
  for (const option of command.options) {
    if (option.variadic || option.parseArg === collect) continue;
    let given = false;
    command.on(`option:${option.name()}`, () => {
      if (given) {
        throw new UsageError(`the argument '${longForm(option)}' cannot be used multiple times`);
      }
      given = true;
    });
  }
}

function missingValue(place: string): UsageError {
  return new UsageError(`a value is required for '${place}' but none was supplied`, {
    showUsage: false,
  });
}

/**
 * Checks that options which must be given are, and that no path that was given is empty.
 *
 * @param command A parsed command.
 * @throws {UsageError} naming the option or argument
 */
export function checkGiven(command: CommandUnknownOpts): void {
  const values: Record<string, unknown> = command.opts();
  const missing = command.options.filter((option) =>
    isRequired(option) && values[option.attributeName()] === undefined
  );
  if (missing.length > 0) throw missingArguments(missing.map(longForm));
  for (const option of command.options) {
    if (!NEVER_EMPTY.has(sourceOf(command, option))) continue;
    const value = values[option.attributeName()];
    if ([value].flat().includes("")) throw missingValue(longForm(option));
  }
  command.registeredArguments.forEach((argument, index) => {
    if (!NEVER_EMPTY.has(sourceOf(command, index))) return;
    const given = command.args.slice(index, argument.variadic ? undefined : index + 1);
    if (!given.includes("")) return;
    throw missingValue(placeOf(argument));
  });
}
