/** The manual page, from the same declarations as help and completion. */
import type { CommandUnknownOpts } from "./commander.ts";
import { newCommand, notesOf } from "./declare.ts";
import { addGlobalOptions } from "./globals.ts";
import { EXIT } from "./exit_codes.ts";
import { placeOf } from "./usage.ts";
import { VERSION } from "./version.ts";

/** Text as troff takes it: backslashes, hyphens of options, and lines that would be requests. */
function escape(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^(?=[.'])/gm, "\\&")
    .replace(
      /[^\x20-\x7e\n]/gu,
      (c) => `\\[u${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`,
    );
}

function options(command: CommandUnknownOpts): string {
  return command.options.filter(({ hidden }) => !hidden).map(
    ({ flags, description, argChoices }) => {
      const choices = argChoices === undefined ? "" : ` (${argChoices.join(", ")})`;
      return `.TP\n\\fB${escape(flags)}\\fR\n${escape(description + choices)}\n`;
    },
  ).join("");
}

function usage(name: string, command: CommandUnknownOpts): string {
  return escape([name, "[OPTIONS]", ...command.registeredArguments.map(placeOf)].join(" "));
}

function section(name: string, command: CommandUnknownOpts): string {
  const description = command.description().split("\n\n")
    .map((paragraph) => `.PP\n${escape(paragraph)}\n`).join("");
  const examples = notesOf(command).examples.map((line) => `${escape(line)}\n`).join("");
  return `.SS ${usage(name, command)}\n${description}${options(command)}` +
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
    ".SH EXIT STATUS\n" +
    `.TP\n${EXIT.ok}\nDone.\n.TP\n${EXIT.failed}\nFailed; standard error says why.\n` +
    `.TP\n${EXIT.usage}\nThe command line is wrong.\n.TP\n${EXIT.interrupted}\nInterrupted.\n`;
}
