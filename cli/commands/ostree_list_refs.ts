import { NotFoundError } from "../../lib/base/mod.ts";
import { LocalRepository } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { isServer, openServer } from "../ostree_server.ts";
import { boxTable } from "../table.ts";

interface ListedRef {
  readonly name: string;
  readonly commit: string;
}

function localRefs(path: string): readonly ListedRef[] {
  using source = LocalRepository.open(path.replace(/^file:\/\//, ""));
  return source.listRefs();
}

async function serverRefs(
  url: string,
  options: { subset?: string | undefined },
): Promise<readonly ListedRef[]> {
  using source = openServer(url, options);
  const summary = await source.summary();
  if (summary !== undefined) return summary.refs.map(({ name, commit }) => ({ name, commit }));
  const message = "no summary available from remote";
  throw new NotFoundError("summary", source.location, { message });
}

/** Declares `ostree list-refs`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("list-refs")
    .description("List refs available in an ostree repository")
    .argument("<OSTREE_REPO>", "A local repository, or the URL of one with a summary")
    .option("--subset <SUBSET>", "Part of the summary index (defaults to the architecture)")
    .option("--json", "Output as JSON")
    .action(async (path, options) => {
      const refs = isServer(path) ? await serverRefs(path, options) : localRefs(path);
      if (options.json) context.stdout.json({ refs });
      else if (refs.length === 0) context.stdout.line("No refs found");
      else {
        const rows = refs.map(({ name, commit }) => [name, commit]);
        context.stdout.write(boxTable(["REF", "COMMIT"], rows));
      }
    });
  return withNotes(declared, {
    examples: [
      "cfs ostree list-refs /ostree/repo",
      "cfs ostree list-refs --subset x86_64 https://example.org/repo",
    ],
    complete: { "0": "directory" },
  });
}
