import { exportCommit, findCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { jobsOption } from "../jobs.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Export an ostree commit to a local ostree repository

Writes all objects to an existing repository of any mode; each is checked while it is written. Blocks
of files are shared where the file systems can do that.`;

/** Declares `ostree export`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("export")
    .description(DESCRIPTION)
    .argument("<SOURCE>", "Tag, commit ID, or the beginning of one")
    .argument("<OSTREE_REPO_PATH>", "Path to the destination ostree repository")
    .option("--reference <REFERENCE>", "Ref name to set in the destination repo")
    .addOption(jobsOption("Number of threads (defaults to what is worth it)"))
    .action(async (source, path, { reference, jobs }) => {
      using repository = openRepository(context);
      const commit = findCommit(repository, source);
      const { cloned } = await context.working((progress) =>
        exportCommit(repository, commit, {
          path,
          ...(jobs === undefined ? {} : { jobs }),
          ...(reference === undefined ? {} : { reference }),
          progress,
        })
      );
      context.stdout.line(`commit  ${commit}`);
      if (reference !== undefined) context.stdout.line(`tagged  ${reference}`);
      if (cloned > 0) context.note(`${cloned} files share their blocks`);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree export stable /ostree/repo --reference stable"],
    complete: { "0": "ostree-commit", "1": "directory" },
  });
}
