import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import { commitTree, findCommit, openCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `ostree dump`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("dump")
    .description("Dump the filesystem of an ostree commit as a composefs dumpfile to stdout")
    .argument("<COMMIT_NAME>", "Tag, commit ID, or the beginning of one")
    .action((name) => {
      using repository = openRepository(context);
      const { checksum, chunk } = openCommit(repository, findCommit(repository, name));
      const tree = commitTree(checksum, (id) => chunk.get(id));
      for (const piece of formatDumpfile(tree)) context.stdout.write(piece);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree dump stable"],
    complete: { "0": "ostree-commit" },
  });
}
