/** Pulling a commit into a composefs repository (spec: ostree 5.1, 6). */
import { ComposefsError, NotFoundError, type ObjectId, type ProgressSink } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { Bases } from "./bases.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import { CommitBuilder } from "./commit_builder.ts";
import { commitStreamName, commitTagRef, resolveCommitTag, tagCommit } from "./commit_names.ts";
import { type Commit, parseCommit, parseMetadata, refBinding } from "./commit_object.ts";
import { commitTree, storeCommitImages } from "./commit_tree.ts";
import { corruptedObject } from "./object_kind.ts";
import { inObject, ObjectPull, type OstreePullStats } from "./pull_objects.ts";
import type { ArrivedCommit, DeltaResult, PullTask } from "./pull_task.ts";
import { boundName } from "./ref_names.ts";
import type { OstreeSource } from "./source.ts";
import {
  openCommit,
  readDetachedMetadata,
  storeCommit,
  type StoredCommit,
} from "./stored_commit.ts";

export type { OstreePullStats } from "./pull_objects.ts";
export type { ArrivedCommit, DeltaResult, PullTask } from "./pull_task.ts";

/** How to pull. */
export interface OstreePullOptions {
  /** A stored tag whose objects are not fetched again. */
  baseName?: string;
  /** Tag to make; null for none. @default the ref that was asked for */
  tag?: string | null;
  /** Threads or requests at a time. @default the source's choice */
  jobs?: number;
  /** Do not check that the commit is bound to the ref. @default false */
  disableRefBindingCheck?: boolean;
  /** Refuse a commit that is older than the one the tag leads to. @default false */
  timestampCheck?: boolean;
  /** Checks signatures as soon as the commit is known; throws to refuse it. */
  verify?: (commit: ArrivedCommit) => void | Promise<void>;
  /** Applies a static delta before objects are fetched; undefined when there is none. */
  delta?: (task: PullTask) => Promise<DeltaResult | undefined>;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is, and about warnings. */
  progress?: ProgressSink;
}

/** What a pull came to. */
export interface OstreePullResult {
  /** The commit. */
  readonly commit: Checksum;
  /** Object id of its splitstream. */
  readonly stream: ObjectId;
  /** Its image. */
  readonly image: ObjectId;
  /** The tag that was made, if one was. */
  readonly tag: string | undefined;
  /** Whether it was stored already. */
  readonly present: boolean;
  /** Counters. */
  readonly stats: OstreePullStats;
}

/**
 * Pulls a commit: every checksum is verified before anything gets a name, everything is durable
 * before names are made, and the tag comes last.
 *
 * @param reference a ref, or a commit's id
 * @throws {NotFoundError} when there is no such ref, commit or base
 * @throws {DigestMismatchError} when an object is not what its name says
 * @throws {FormatError} when an object is malformed
 */
export async function pullCommit(
  repository: Repository,
  source: OstreeSource,
  options: OstreePullOptions & { reference: string },
): Promise<OstreePullResult> {
  repository.assertWritable();
  const { commit, ref } = await source.resolve(options.reference);
  const tag = options.tag === undefined ? ref : options.tag ?? undefined;
  if (tag !== undefined) commitTagRef(tag);
  return await new Pull(repository, source, { ...options, commit, ref, pullTag: tag }).run();
}

/** The commit object of a stored commit, which must be what its name says. */
function storedBytes({ checksum, chunk }: StoredCommit): Uint8Array {
  const bytes = chunk.get(checksum)?.data ?? new Uint8Array(0);
  const actual = checksumOf(bytes);
  if (actual !== checksum) throw corruptedObject("commit", checksum, actual);
  return bytes;
}

class Pull {
  readonly #repository: Repository;
  readonly #source: OstreeSource;
  readonly #options: OstreePullOptions & {
    commit: Checksum;
    ref: string | undefined;
    pullTag: string | undefined;
  };
  readonly #progress: ProgressSink;
  readonly #commit: Checksum;
  readonly #builder = new CommitBuilder();
  readonly #bases: Bases;
  readonly #stats: OstreePullStats = {
    metadata: 0,
    files: 0,
    inherited: 0,
    cloned: 0,
    copied: 0,
    bytesStored: 0,
    delta: undefined,
  };

  constructor(
    repository: Repository,
    source: OstreeSource,
    options: OstreePullOptions & {
      commit: Checksum;
      ref: string | undefined;
      pullTag: string | undefined;
    },
  ) {
    this.#repository = repository;
    this.#source = source;
    this.#options = options;
    this.#progress = options.progress ?? (() => {});
    this.#commit = options.commit;
    this.#bases = new Bases(repository, this.#commit, (text) => this.#warn(text));
  }

  async run(): Promise<OstreePullResult> {
    const present = await this.#alreadyThere();
    if (present !== undefined) return present;
    this.#addNamedBase();
    await this.#source.checkCommit(this.#commit);
    const arrived = await this.#fetchCommit();
    await this.#options.verify?.(arrived);
    this.#checkBinding(arrived.commit);
    this.#addBases(arrived.commit);
    if (this.#options.delta !== undefined) {
      this.#stats.delta = await this.#options.delta({
        repository: this.#repository,
        source: this.#source,
        arrived,
        builder: this.#builder,
        bases: this.#bases,
      });
    }
    this.#progress({ type: "started", id: this.#commit, unit: "objects" });
    const objects = this.#objects();
    await objects.run(arrived.commit);
    const tree = commitTree(this.#commit, (checksum) => this.#builder.get(checksum), objects);
    const { image, more } = storeCommitImages(this.#repository, tree);
    const { pullTag } = this.#options;
    const stream = storeCommit(this.#repository, this.#commit, {
      entries: this.#builder.entries,
      image,
      more,
      detached: arrived.detached,
      ...(pullTag === undefined ? {} : { tagRef: commitTagRef(pullTag) }),
    });
    // Last of all: until then it does no harm that the next pull looks once more.
    this.#bases.suspects.forget({ checksum: this.#commit }, (text) => this.#warn(text));
    const transferred = this.#stats.metadata + this.#stats.files;
    this.#progress({ type: "done", id: this.#commit, transferred });
    return this.#result(stream, image, false);
  }

  #result(stream: ObjectId, image: ObjectId, present: boolean): OstreePullResult {
    const { pullTag: tag } = this.#options;
    return { commit: this.#commit, stream, image, tag, present, stats: this.#stats };
  }

  /** A commit that is stored as a whole only gets its tag. */
  async #alreadyThere(): Promise<OstreePullResult | undefined> {
    const repository = this.#repository;
    if (repository.streamObject(commitStreamName(this.#commit)) === undefined) return undefined;
    let stored;
    let bytes;
    try {
      stored = openCommit(repository, this.#commit);
      bytes = storedBytes(stored);
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      this.#warn(`stored commit is damaged and pulled again: ${error.message}`);
      return undefined;
    }
    const { image, stream } = stored;
    if (image === undefined || !repository.hasImage(image)) return undefined;
    const { suspects } = this.#bases;
    const damaged = await suspects.count(stored, this.#options.signal);
    if (damaged > 0) {
      const objects = damaged === 1 ? "object" : "objects";
      this.#warn(`${damaged} ${objects} of the commit found damaged; made anew`);
      this.#bases.addDamaged();
      return undefined;
    }
    const { pullTag, verify } = this.#options;
    if (verify !== undefined) {
      // It may have come when nobody asked for signatures, and may have been signed since.
      const detached = await this.#source.readDetached(this.#commit) ??
        readDetachedMetadata(repository, stored);
      await verify({ checksum: this.#commit, bytes, commit: stored.commit, detached });
    }
    // A server can lead back to what is there as well as to anything else.
    this.#checkBinding(stored.commit);
    if (pullTag !== undefined) {
      tagCommit(repository, this.#commit, pullTag);
      repository.sync();
    }
    suspects.forget(stored, (text) => this.#warn(text));
    this.#progress({ type: "skipped", id: this.#commit });
    return this.#result(stream, image, true);
  }

  async #fetchCommit(): Promise<ArrivedCommit> {
    const checksum = this.#commit;
    const bytes = await this.#source.readMetadata("commit", checksum);
    this.#builder.addMetadata("commit", checksum, bytes);
    this.#stats.metadata++;
    const commit = inObject("commit", checksum, () => parseCommit(bytes));
    const detached = await this.#source.readDetached(checksum);
    if (detached !== undefined) inObject("commitmeta", checksum, () => parseMetadata(detached));
    return { checksum, bytes, commit, detached };
  }

  #checkBinding(commit: Commit): void {
    const { ref, pullTag, timestampCheck } = this.#options;
    const bound = refBinding(commit);
    const asked = ref === undefined || this.#source.remote ? ref : boundName(ref);
    if (asked !== undefined && bound !== undefined && !bound.includes(asked)) {
      const names = bound.map((name) => `'${name}'`).join(", ");
      const text =
        `Commit ${this.#commit} has no requested ref '${ref}' in ref binding metadata (${names})`;
      if (!this.#source.remote) this.#warn(text);
      else if (this.#options.disableRefBindingCheck !== true) {
        throw new ComposefsError("CFS_POLICY", text);
      }
    }
    const previous = pullTag === undefined ? undefined : this.#previous(pullTag);
    if (timestampCheck !== true || previous === undefined) return;
    const before = openCommit(this.#repository, previous).commit.timestamp;
    if (commit.timestamp < before) {
      throw new ComposefsError(
        "CFS_POLICY",
        `Upgrade target revision '${this.#commit}' with timestamp ${commit.timestamp} is chronologically older than current revision '${previous}' with timestamp ${before}`,
      );
    }
  }

  /** The commit that the tag leads to so far. */
  #previous(tag: string): Checksum | undefined {
    try {
      return resolveCommitTag(this.#repository, tag);
    } catch (error) {
      if (error instanceof NotFoundError) return undefined; // a tag of nothing is replaced
      throw error;
    }
  }

  #addNamedBase(): void {
    const { baseName } = this.#options;
    if (baseName === undefined) return;
    const base = resolveCommitTag(this.#repository, baseName);
    if (base === undefined) {
      const message = `Opening stream 'refs/ostree/${baseName}'`;
      throw new NotFoundError("ostree tag", baseName, { message });
    }
    this.#bases.add(base);
  }

  #addBases(commit: Commit): void {
    const { pullTag } = this.#options;
    const previous = pullTag === undefined ? undefined : this.#previous(pullTag);
    if (previous !== undefined) this.#bases.add(previous);
    this.#bases.addAncestors(commit.parent);
  }

  #objects(): ObjectPull {
    const { jobs, signal } = this.#options;
    return new ObjectPull(this.#commit, {
      repository: this.#repository,
      source: this.#source,
      builder: this.#builder,
      bases: this.#bases,
      stats: this.#stats,
      jobs,
      signal,
      progress: this.#progress,
    });
  }

  #warn(text: string): void {
    this.#progress({ type: "warning", text });
  }
}
