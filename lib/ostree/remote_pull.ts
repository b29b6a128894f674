/** Pulls of several commits, which can be taken up again where they come from a server (spec: ostree 6.2, 8). */
import { NotFoundError } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import { type OstreePullOptions, type OstreePullResult, pullCommit } from "./pull.ts";
import { PullJournal } from "./pull_journal.ts";
import { RemoteSource } from "./remote_source.ts";
import type { OstreeSource } from "./source.ts";
import { openCommit } from "./stored_commit.ts";

/** How to pull commits. */
export interface RemotePullOptions extends OstreePullOptions {
  /** How many parents of each commit to pull as well; -1 for all. @default 0 */
  readonly depth?: number;
  /** Directory in which unfinished pulls keep what has arrived. @default nothing is kept */
  readonly journals?: string;
}

/**
 * Pulls commits from a repository; each one is complete, and has its names, before the next begins.
 *
 * @param options.references refs and ids of commits
 * @returns the results of the references in their order, without those of parents
 * @throws as {@linkcode pullCommit}; what was complete by then stays
 */
export async function pullRemote(
  repository: Repository,
  source: OstreeSource,
  options: RemotePullOptions & { references: readonly string[] },
): Promise<OstreePullResult[]> {
  const results: OstreePullResult[] = [];
  for (const reference of options.references) {
    const result = await pullOne(repository, source, { ...options, reference });
    results.push(result);
    await pullParents(repository, source, { ...options, commit: result.commit });
  }
  return results;
}

async function pullOne(
  repository: Repository,
  source: OstreeSource,
  options: RemotePullOptions & { reference: string },
): Promise<OstreePullResult> {
  const { journals } = options;
  if (journals === undefined || !(source instanceof RemoteSource)) {
    return await pullCommit(repository, source, options);
  }
  const { commit } = await source.resolve(options.reference);
  using journal = PullJournal.open(`${journals}/${commit}.journal`);
  source.useJournal(journal);
  try {
    const result = await pullCommit(repository, source, options);
    journal.remove();
    return result;
  } finally {
    source.useJournal(undefined);
  }
}

/** Pulls what came before a commit; a history that ends early on the server is no fault. */
async function pullParents(
  repository: Repository,
  source: OstreeSource,
  options: RemotePullOptions & { commit: Checksum },
): Promise<void> {
  const { depth = 0, progress, signal } = options;
  let commit = options.commit;
  for (let left = depth; left !== 0; left--) {
    signal?.throwIfAborted();
    const { parent } = openCommit(repository, commit).commit;
    if (parent === undefined) return;
    try {
      await pullOne(repository, source, { ...options, reference: parent, tag: null });
    } catch (error) {
      if (!isMissingCommit(error, parent)) throw error;
      progress?.({ type: "message", text: `parent ${parent} is not on the server` });
      return;
    }
    commit = parent;
  }
}

function isMissingCommit(error: unknown, commit: Checksum): boolean {
  return error instanceof NotFoundError && error.id === commit;
}
