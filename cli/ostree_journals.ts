/** Where unfinished pulls from ostree servers keep what has arrived. */
import { fstat } from "../ffi/mod.ts";
import type { Repository } from "../lib/repository/mod.ts";

/**
 * Directory in which unfinished pulls into a repository keep what has arrived: the user's cache, a
 * place of its own for each repository. `undefined` when the user has no home.
 *
 * @param repository The repository.
 */
export function journalsOf(repository: Repository): string | undefined {
  const home = Deno.env.get("HOME");
  const cache = Deno.env.get("XDG_CACHE_HOME") || (home ? `${home}/.cache` : undefined);
  if (cache === undefined || !cache.startsWith("/")) return undefined;
  const { dev, ino } = fstat(repository.directory);
  return `${cache}/cfs/ostree/${dev}-${ino}`;
}

/**
 * Removes what unfinished pulls into a repository have kept for so long that nobody will take them
 * up.
 *
 * @param repository The repository.
 */
export async function pruneOldJournals(repository: Repository): Promise<void> {
  let journals: string | undefined;
  try {
    journals = journalsOf(repository);
    if (journals === undefined) return;
    Deno.lstatSync(journals);
  } catch (error) {
    // Most repositories have none, and need not load what knows about them; nor is it any of our
    // business where we may not look.
    const { NotFound, NotCapable } = Deno.errors;
    if (error instanceof NotFound || error instanceof NotCapable) return;
    throw error;
  }
  const { pruneJournals } = await import("../lib/ostree/mod.ts");
  pruneJournals(journals);
}
