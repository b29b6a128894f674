import { Argument, type CommandUnknownOpts } from "../commander.ts";
import { completionScript, SHELLS } from "../completion_scripts.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";

/** Declares `completions`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("completions")
    .description("Print the completion script of a shell, for its start-up files")
    .addArgument(new Argument("<SHELL>", "The shell").choices(SHELLS))
    .option("--name <NAME>", "Name that the program is called by")
    .action((shell, options) => {
      context.stdout.write(completionScript(shell, options.name ?? context.programName));
    });
  return withNotes(declared, {
    examples: [
      "source <(cfs completions bash)",
      "cfs completions zsh > ~/.zfunc/_cfs",
      "cfs completions fish > ~/.config/fish/completions/cfs.fish",
    ],
  });
}
