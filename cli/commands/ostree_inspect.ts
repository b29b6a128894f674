import {
  findCommit,
  formatMetadataValue,
  metadataToJson,
  openCommit,
  type StoredCommit,
} from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { formatTimestamp } from "../ostree_date.ts";

function show({ stdout }: Context, { checksum, commit }: StoredCommit): void {
  stdout.line(`commit  ${checksum}`);
  if (commit.parent !== undefined) stdout.line(`parent  ${commit.parent}`);
  stdout.line(`date    ${formatTimestamp(commit.timestamp)}`);
  stdout.line(`tree    ${commit.rootTree}`);
  stdout.line(`dirmeta ${commit.rootMeta}`);
  for (const text of [commit.subject, commit.body]) {
    if (text !== "") stdout.line(`\n${text}`);
  }
}

function showJson({ stdout }: Context, stored: StoredCommit): void {
  const { commit } = stored;
  stdout.json({
    commit: stored.checksum,
    verity: stored.stream,
    image: stored.image ?? null,
    parent: commit.parent ?? null,
    timestamp: Number(commit.timestamp),
    tree: commit.rootTree,
    dirmeta: commit.rootMeta,
    subject: commit.subject,
    body: commit.body,
    metadata: metadataToJson(commit.metadata),
    signed: stored.commitMeta !== undefined,
    objects: stored.chunk.count,
  });
}

/** Declares `ostree inspect`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("inspect")
    .description("Show the contents of an ostree commit")
    .argument("<SOURCE>", "Tag, commit ID, or the beginning of one")
    .option("--metadata", "Print only the commit metadata key-value pairs")
    .option("--json", "Output as JSON")
    .action((source, options) => {
      using repository = openRepository(context);
      const stored = openCommit(repository, findCommit(repository, source));
      if (options.json) showJson(context, stored);
      else if (options.metadata) {
        for (const [key, value] of stored.commit.metadata) {
          context.stdout.line(`${key}=${formatMetadataValue(value)}`);
        }
      } else show(context, stored);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree inspect stable", "cfs ostree inspect --metadata 927c5470"],
    complete: { "0": "ostree-commit" },
  });
}
