import { ComposefsError } from "../../lib/base/mod.ts";
import { type Checksum, findCommit, openCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { formatTimestamp } from "../ostree_date.ts";

/** Declares `ostree log`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("log")
    .description("Show an ostree commit and its ancestors, as far as they are stored")
    .argument("<SOURCE>", "Tag, commit ID, or the beginning of one")
    .option("--json", "Output as JSON")
    .action((source, options) => {
      using repository = openRepository(context);
      const { stdout } = context;
      const json: unknown[] = [];
      const seen = new Set<Checksum>();
      let next: Checksum | undefined = findCommit(repository, source);
      while (next !== undefined && !seen.has(next)) {
        seen.add(next);
        let stored;
        try {
          stored = openCommit(repository, next);
        } catch (error) {
          const missing = error instanceof ComposefsError && error.code === "CFS_NOT_FOUND";
          if (!missing || seen.size === 1) throw error;
          if (!options.json) stdout.line("<< History beyond this commit not fetched >>");
          break;
        }
        const { commit } = stored;
        if (options.json) {
          json.push({
            commit: stored.checksum,
            parent: commit.parent ?? null,
            timestamp: Number(commit.timestamp),
            subject: commit.subject,
            body: commit.body,
          });
        } else {
          if (seen.size > 1) stdout.line("");
          stdout.line(`commit ${stored.checksum}`);
          if (commit.parent !== undefined) stdout.line(`Parent:  ${commit.parent}`);
          stdout.line(`Date:  ${formatTimestamp(commit.timestamp)}`);
          for (const text of [commit.subject, commit.body]) {
            if (text !== "") stdout.line(`\n${text.replace(/^/gm, "    ")}`);
          }
        }
        next = commit.parent;
      }
      if (options.json) stdout.json({ commits: json });
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree log stable"],
    complete: { "0": "ostree-commit" },
  });
}
