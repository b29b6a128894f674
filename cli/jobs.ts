/** Options that are small numbers. */
import { InvalidNameError } from "../lib/base/mod.ts";
import { type CommandUnknownOpts, Option } from "./commander.ts";
import { parsed } from "./declare.ts";
import { UsageError } from "./errors.ts";

/** Stands for `--jobs` where that is not given. */
const VARIABLE = "CFS_JOBS";

/**
 * Parses a small count: threads, layers at a time, a level.
 *
 * @param text The argument.
 * @throws {InvalidNameError} for anything but a number from 1 to 999
 */
export function parseCount(text: string): number {
  if (/^[1-9][0-9]{0,2}$/.test(text)) return Number(text);
  throw new InvalidNameError("expected a number from 1 to 999");
}

/**
 * `--jobs`.
 *
 * @param help What it counts, and what it is by default.
 */
export function jobsOption(help = "Number of threads (defaults to the number of processors)") {
  return new Option("--jobs <JOBS>", help).argParser(parsed(parseCount));
}

/**
 * Takes what the environment says for `--jobs`, in commands that have the option.
 *
 * @param command A command whose arguments have been parsed.
 * @throws {UsageError} when the variable is no such number
 */
export function takeJobs(command: CommandUnknownOpts): void {
  const option = command.options.find(({ long }) => long === "--jobs");
  if (option === undefined || command.getOptionValue("jobs") !== undefined) return;
  // Programs that are allowed a few variables only need not be allowed this one.
  if (Deno.permissions.querySync({ name: "env", variable: VARIABLE }).state !== "granted") return;
  const text = Deno.env.get(VARIABLE) ?? "";
  if (text === "") return;
  try {
    command.setOptionValueWithSource("jobs", parseCount(text), "env");
  } catch (error) {
    if (!(error instanceof InvalidNameError)) throw error;
    const message = `invalid value '${text}' for '${VARIABLE}': ${error.message}`;
    throw new UsageError(message, { showUsage: false });
  }
}
