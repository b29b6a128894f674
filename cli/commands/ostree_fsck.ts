import {
  checkStoredCommit,
  type CommitFsckReport,
  findCommit,
  listCommits,
} from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { jobsOption } from "../jobs.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Check every object of ostree commits

Each object is hashed and compared with its checksum, contents of files included, and the image is
compared with the one that the files make. Exits with 1 when anything is wrong. Damaged objects are
written down in the repository, so that the next pull of a commit that uses them heals them.`;

/** Declares `ostree fsck`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("fsck")
    .description(DESCRIPTION)
    .argument("[COMMITS...]", "Tags, commit IDs or their beginnings; all commits by default")
    .addOption(jobsOption("Number of threads (defaults to what is worth it)"))
    .option("--json", "Output as JSON")
    .action(async (names: string[], options) => {
      using repository = openRepository(context);
      const commits = names.length === 0
        ? listCommits(repository)
        : names.map((name) => findCommit(repository, name));
      const { jobs } = options;
      const reports = await context.working(async (progress) => {
        const reports: CommitFsckReport[] = [];
        for (const commit of commits) {
          reports.push(
            await checkStoredCommit(repository, commit, {
              ...(jobs === undefined ? {} : { jobs }),
              progress,
            }),
          );
        }
        return reports;
      });
      const ok = reports.every(({ errors }) => errors.length === 0);
      if (options.json) context.stdout.json({ ok, commits: reports });
      else {
        for (const { commit, objects, errors, warnings } of reports) {
          for (const text of warnings) context.warn(text);
          for (const text of errors) context.stdout.line(`error: ${text}`);
          const state = errors.length === 0 ? "ok" : `${errors.length} errors`;
          context.stdout.line(`${commit} ${objects} objects: ${state}`);
        }
        if (reports.length === 0) context.stdout.line("No ostree commits found");
      }
      if (!ok) context.exitCode = 1;
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree fsck", "cfs --repo r ostree fsck stable"],
    complete: { "0": "ostree-commit" },
  });
}
