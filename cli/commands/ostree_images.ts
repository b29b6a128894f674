import { listCommitTags } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { boxTable } from "../table.ts";

/** Declares `ostree images`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("images")
    .description("List all ostree commits in the repository that have a tag")
    .option("--json", "Output as JSON")
    .action((options) => {
      using repository = openRepository(context);
      const tags = listCommitTags(repository);
      if (options.json) context.stdout.json({ commits: tags });
      else if (tags.length === 0) context.stdout.line("No ostree commits found");
      else {
        const rows = tags.map(({ name, commit }) => [name, commit]);
        context.stdout.write(boxTable(["NAME", "COMMIT"], rows));
      }
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree images", "cfs ostree images --json"],
  });
}
