import { displayByteString } from "../../lib/base/mod.ts";
import { diffCommits, type DiffSide, findCommit, openCommit } from "../../lib/ostree/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

function side(repository: Repository, name: string): DiffSide {
  const { chunk, commit } = openCommit(repository, findCommit(repository, name));
  return {
    lookup: (checksum) => chunk.get(checksum),
    root: { tree: commit.rootTree, meta: commit.rootMeta },
  };
}

/** Declares `ostree diff`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("diff")
    .description("Compare the files of two ostree commits: M modified, D deleted, A added")
    .argument("<A>", "Tag, commit ID, or the beginning of one")
    .argument("<B>", "Tag, commit ID, or the beginning of one")
    .option("--json", "Output as JSON")
    .action((a, b, options) => {
      using repository = openRepository(context);
      const diff = diffCommits(side(repository, a), side(repository, b));
      const lists = [["M", diff.modified], ["D", diff.removed], ["A", diff.added]] as const;
      if (options.json) {
        const shown = (paths: readonly string[]) => paths.map(displayByteString);
        context.stdout.json({
          modified: shown(diff.modified),
          removed: shown(diff.removed),
          added: shown(diff.added),
        });
        return;
      }
      for (const [letter, paths] of lists) {
        for (const path of paths) context.stdout.line(`${letter}    ${displayByteString(path)}`);
      }
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree diff stable testing"],
    complete: { "0": "ostree-commit", "1": "ostree-commit" },
  });
}
