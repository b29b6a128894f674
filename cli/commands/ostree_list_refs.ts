import { NotFoundError } from "../../lib/base/mod.ts";
import { LocalRepository, RemoteSource } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { findOrigin, openOrigin } from "../ostree_origin.ts";
import { isServer, openServer } from "../ostree_server.ts";
import { chosenPolicy, verifyHooks } from "../ostree_verify.ts";
import { boxTable } from "../table.ts";

interface ListedRef {
  readonly name: string;
  readonly commit: string;
}

function localRefs(path: string): readonly ListedRef[] {
  using source = LocalRepository.open(path.replace(/^file:\/\//, ""));
  return source.listRefs();
}

async function serverRefs(source: RemoteSource): Promise<readonly ListedRef[]> {
  using _source = source;
  const summary = await source.summary();
  if (summary !== undefined) return summary.refs.map(({ name, commit }) => ({ name, commit }));
  const message = "no summary available from remote";
  throw new NotFoundError("summary", source.location, { message });
}

/** The refs of a configured remote, whose summary is verified when the remote says so. */
async function remoteRefs(
  context: Context,
  name: string,
  subset: string | undefined,
): Promise<readonly ListedRef[]> {
  using repository = openRepository(context);
  const origin = findOrigin(name, repository, {});
  const { verifySummary } = verifyHooks(chosenPolicy({}, origin));
  const source = openOrigin(origin, {
    repository,
    subset,
    ...(verifySummary === undefined ? {} : { more: { verifySummary } }),
  });
  if (source instanceof RemoteSource) return await serverRefs(source);
  using local = source as LocalRepository;
  return local.listRefs();
}

/** Whether an argument is the path of a repository rather than the name of a remote. */
function isPath(place: string): boolean {
  if (place.includes("/")) return true;
  try {
    return Deno.statSync(place).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Declares `ostree list-refs`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("list-refs")
    .description("List refs available in an ostree repository")
    .argument(
      "<OSTREE_REPO>",
      "A local repository, the URL of one with a summary, or the name of a remote",
    )
    .option("--subset <SUBSET>", "Part of the summary index (defaults to the architecture)")
    .option("--json", "Output as JSON")
    .action(async (path, options) => {
      const refs = isServer(path)
        ? await serverRefs(openServer(path, options))
        : isPath(path)
        ? localRefs(path)
        : await remoteRefs(context, path, options.subset);
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
      "cfs --repo r ostree list-refs origin",
      "cfs ostree list-refs --subset x86_64 https://example.org/repo",
    ],
    complete: { "0": "directory" },
  });
}
