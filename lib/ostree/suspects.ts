/** Objects that were found damaged, as a pull has to deal with them. */
import { ComposefsError, type ObjectId, Turns } from "../base/mod.ts";
import { forgetHealed, type KnownDamage, reasonOf, type Repository } from "../repository/mod.ts";
import { commitStreamName } from "./commit_names.ts";
import type { StoredCommit } from "./stored_commit.ts";

/** What is known of damage in a repository; objects are looked at once each, and only if listed. */
export class Suspects {
  readonly #repository: Repository;
  readonly #known: KnownDamage | undefined;
  readonly #damaged = new Map<ObjectId, boolean>();

  /** Reads the list of damaged objects, when there is one. */
  constructor(repository: Repository) {
    this.#repository = repository;
    this.#known = repository.knownDamage();
  }

  /** Whether an object is listed, and damaged indeed. */
  isDamaged(id: ObjectId): boolean {
    if (this.#known === undefined || !(this.#known.all || this.#known.ids.has(id))) return false;
    let damaged = this.#damaged.get(id);
    if (damaged === undefined) {
      damaged = !this.#repository.objects.isSound(id);
      this.#damaged.set(id, damaged);
    }
    return damaged;
  }

  /**
   * How many objects of a commit are damaged. Where any may be that hashes all of it, so others get
   * their turns.
   *
   * @throws the signal's reason when aborted
   */
  async count(commit: StoredCommit, signal?: AbortSignal): Promise<number> {
    let damaged = 0;
    const turns = new Turns();
    for (const id of this.#listed(commit)) {
      if (this.isDamaged(id)) damaged++;
      if (turns.due) await turns.give(signal);
    }
    return damaged;
  }

  /** Objects of a commit that are on the list. */
  #listed({ chunk, image, moreImages }: StoredCommit): ObjectId[] {
    if (this.#known === undefined) return [];
    const { ids, all } = this.#known;
    const objects = new Set(moreImages.values());
    if (image !== undefined) objects.add(image);
    for (let i = 0; i < chunk.count; i++) {
      const { external } = chunk.entry(i);
      if (external !== undefined) objects.add(external);
    }
    return [...objects].filter((id) => all || ids.has(id));
  }

  /** Takes what is sound of a stored commit off the list. */
  forget({ checksum }: Pick<StoredCommit, "checksum">, warn: (text: string) => void): void {
    if (this.#known === undefined) return;
    forgetHealed(this.#repository, commitStreamName(checksum), warn);
  }
}

/**
 * Writes down which of a commit's objects are damaged, and that others are not any more.
 *
 * @param objects those that something is wrong with
 * @param warn told when that cannot be written, which spoils nothing
 */
export function rememberDamage(
  repository: Repository,
  found: { readonly checksum: StoredCommit["checksum"]; readonly objects: Iterable<ObjectId> },
  warn: (text: string) => void,
): void {
  const damaged = [...new Set(found.objects)].filter((id) =>
    repository.objects.size(id) !== undefined && !repository.objects.isSound(id)
  );
  try {
    if (damaged.length > 0) repository.noteDamage({ damaged });
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    warn(`pulls are not told which objects are damaged: ${reasonOf(error)}`);
  }
  forgetHealed(repository, commitStreamName(found.checksum), warn);
}
