/** The manual page, from the same declarations as help and completion. */
import type { CommandUnknownOpts } from "./commander.ts";
import { newCommand, notesOf } from "./declare.ts";
import { addGlobalOptions } from "./globals.ts";
import { EXIT } from "./exit_codes.ts";
import { placeOf, usageWords } from "./usage.ts";
import { VERSION } from "./version.ts";

const STATUSES: readonly (readonly [number, string])[] = [
  [EXIT.ok, "Done; with --json, fsck says in its document whether all is well."],
  [EXIT.failed, "Failed; standard error says why."],
  [EXIT.usage, "The command line is wrong."],
  [EXIT.refused, "trust check: the policy does not accept the image."],
  [EXIT.interrupted, "Ended by the interrupt key; by another signal, 128 and its number."],
];

const OTHER_NAMES = [
  "Called by the name mkcomposefs, composefs-info, composefs-dump or mount.composefs, or with that " +
  "name as its first argument, the program is that tool; each has its own --help.",
];

/** Text as troff takes it: backslashes, hyphens of options, and lines that would be requests. */
function escape(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^(?=[.'])/gm, "\\&")
    .replace(
      /[^\x20-\x7e\n]/gu,
      (c) => `\\[u${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`,
    );
}

function entry(name: string, text: string): string {
  return `.TP\n\\fB${escape(name)}\\fR\n${escape(text)}\n`;
}

function operands(command: CommandUnknownOpts): string {
  return command.registeredArguments.filter(({ description }) => description !== "")
    .map((argument) => entry(placeOf(argument), argument.description)).join("");
}

function options(command: CommandUnknownOpts): string {
  return command.options.filter(({ hidden }) => !hidden).map(
    ({ flags, description, argChoices }) => {
      const choices = argChoices === undefined ? "" : ` (${argChoices.join(", ")})`;
      return entry(flags, description + choices);
    },
  ).join("");
}

function section(name: string, command: CommandUnknownOpts): string {
  const description = command.description().split("\n\n")
    .map((paragraph) => `.PP\n${escape(paragraph)}\n`).join("");
  const examples = notesOf(command).examples.map((line) => `${escape(line)}\n`).join("");
  const usage = escape([name, ...usageWords(command)].join(" "));
  return `.SS ${usage}\n${description}${operands(command)}${options(command)}` +
    `.PP\n.nf\n${examples}.fi\n`;
}

/**
 * Writes the manual page in troff.
 *
 * @param commands The declared commands by their words.
 * @returns The page, section 1.
 */
export function manualPage(commands: ReadonlyMap<string, CommandUnknownOpts>): string {
  const program = newCommand("cfs");
  addGlobalOptions(program, { hidden: false });
  const sections = [...commands].map(([name, command]) => section(name, command));
  return `.TH CFS 1 "" "cfs ${VERSION}" "User Commands"\n` +
    ".SH NAME\ncfs \\- build, check and mount composefs images and their repositories\n" +
    ".SH SYNOPSIS\n\\fBcfs\\fR [OPTIONS] <COMMAND>\n" +
    ".SH OPTIONS\nThese are allowed before the command's name and after it.\n" + options(program) +
    `.SH COMMANDS\n${sections.join("")}` +
    `.SH EXIT STATUS\n${STATUSES.map(([code, text]) => entry(String(code), text)).join("")}` +
    `.SH OTHER NAMES\n${OTHER_NAMES.map((text) => `.PP\n${escape(text)}\n`).join("")}`;
}
