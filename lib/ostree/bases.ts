/** What other stored commits hold of a new one (spec: ostree 6, 6.2). */
import { ComposefsError } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import type { CommitEntry } from "./commit_chunk.ts";
import { listCommits } from "./commit_names.ts";
import { fileEntry } from "./commit_tree.ts";
import { openCommit, type StoredCommit } from "./stored_commit.ts";
import { Suspects } from "./suspects.ts";

/** Steps along the parents until a stored commit is looked for no further. */
const MAX_STEPS = 16;

/**
 * Looks objects up in stored commits: those that are likely to hold them first, all others when
 * these do not.
 */
export class Bases {
  /** What is known to be damaged: it is of no use. */
  readonly suspects: Suspects;
  readonly #repository: Repository;
  readonly #target: Checksum;
  readonly #open: StoredCommit[] = [];
  readonly #seen = new Set<Checksum>();
  #others: Checksum[] | undefined;
  readonly #warn: (text: string) => void;

  /** Looks for objects of the commit `target`, which is not a base of itself. */
  constructor(repository: Repository, target: Checksum, warn: (text: string) => void) {
    this.suspects = new Suspects(repository);
    this.#repository = repository;
    this.#target = target;
    this.#warn = warn;
    this.#seen.add(target);
  }

  /** Adds a commit when it is stored; returns whether it is. */
  add(commit: Checksum): boolean {
    if (this.#seen.has(commit)) return this.#open.some((one) => one.checksum === commit);
    this.#seen.add(commit);
    try {
      this.#open.push(openCommit(this.#repository, commit));
      return true;
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      // A base is a help only: without it objects are fetched.
      if (error.code !== "CFS_NOT_FOUND") this.#warn(`not used as base: ${error.message}`);
      return false;
    }
  }

  /** Adds the target itself, which is there but damaged: what is sound of it is not fetched. */
  addDamaged(): void {
    this.#seen.delete(this.#target);
    this.add(this.#target);
  }

  /** Adds the first stored commit along the parents, which may themselves not be stored. */
  addAncestors(parent: Checksum | undefined): void {
    let next = parent;
    for (let step = 0; step < MAX_STEPS && next !== undefined; step++) {
      if (!this.add(next)) return;
      const found: Checksum = next;
      next = this.#open.find((one) => one.checksum === found)?.commit.parent;
    }
  }

  /** A metadata object with this checksum. */
  metadata(checksum: Checksum): CommitEntry | undefined {
    for (const base of this.#commits()) {
      const entry = base.chunk.get(checksum);
      if (entry !== undefined && entry.external === undefined && isIntact(checksum, entry)) {
        return entry;
      }
    }
    return undefined;
  }

  /** A file object with this checksum whose content is there. */
  file(checksum: Checksum): CommitEntry | undefined {
    for (const base of this.#commits()) {
      const entry = base.chunk.get(checksum);
      if (entry !== undefined && this.#isUsable(checksum, entry)) return entry;
    }
    return undefined;
  }

  #isUsable(checksum: Checksum, entry: CommitEntry): boolean {
    try {
      const { header, external } = fileEntry(checksum, entry);
      if (external === undefined) return true;
      if (this.#repository.objects.size(external) !== header.size) return false;
      return !this.suspects.isDamaged(external);
    } catch (error) {
      if (error instanceof ComposefsError) return false; // damaged there: it is fetched
      throw error;
    }
  }

  /** All bases; stored commits that nobody named are opened when the others did not help. */
  *#commits(): Generator<StoredCommit, void, undefined> {
    yield* this.#open;
    this.#others ??= listCommits(this.#repository).filter((commit) => commit !== this.#target);
    while (this.#others.length > 0) {
      const commit = this.#others.pop()!;
      if (this.#seen.has(commit)) continue;
      if (this.add(commit)) yield this.#open.at(-1)!;
    }
  }
}

function isIntact(checksum: Checksum, entry: CommitEntry): boolean {
  return checksumOf(entry.data) === checksum;
}
