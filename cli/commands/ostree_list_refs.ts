import { UnsupportedError } from "../../lib/base/mod.ts";
import { LocalRepository } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { boxTable } from "../table.ts";

/** Declares `ostree list-refs`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("list-refs")
    .description("List refs available in an ostree repository")
    .argument("<OSTREE_REPO_PATH>", "a local repository")
    .option("--json", "Output as JSON")
    .action((path, options) => {
      if (/^https?:/.test(path)) {
        throw new UnsupportedError("Remote repositories are not supported");
      }
      using source = LocalRepository.open(path.replace(/^file:\/\//, ""));
      const refs = source.listRefs();
      if (options.json) context.stdout.json({ refs });
      else if (refs.length === 0) context.stdout.line("No refs found");
      else {
        const rows = refs.map(({ name, commit }) => [name, commit]);
        context.stdout.write(boxTable(["REF", "COMMIT"], rows));
      }
    });
  return withNotes(declared, {
    examples: ["cfs ostree list-refs /ostree/repo"],
    complete: { "0": "directory" },
  });
}
