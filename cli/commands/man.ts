import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { manualPage } from "../man.ts";

/** Declares `man`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("man")
    .description("Print the manual page in troff")
    .action(async () => context.stdout.write(manualPage(await context.declareAll())));
  return withNotes(declared, {
    examples: ["cfs man | man -l -", "cfs man > /usr/local/share/man/man1/cfs.1"],
  });
}
