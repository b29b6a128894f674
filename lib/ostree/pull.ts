/** Pulling a commit into a composefs repository (spec: ostree 5.1, 6). */
import {
  ComposefsError,
  FormatError,
  NotFoundError,
  type ObjectId,
  type ProgressSink,
  withContext,
} from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { Bases } from "./bases.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import { CommitBuilder } from "./commit_builder.ts";
import { commitStreamName, commitTagRef, resolveCommitTag, tagCommit } from "./commit_names.ts";
import { type Commit, parseCommit, parseMetadata, refBinding } from "./commit_object.ts";
import { commitTree, storeCommitImages } from "./commit_tree.ts";
import { parseDirMeta } from "./dirmeta.ts";
import { parseDirTree } from "./dirtree.ts";
import { corruptedObject, type MetadataKind } from "./object_kind.ts";
import type { FileImport, ImportedFile, OstreeSource } from "./source.ts";
import {
  openCommit,
  readDetachedMetadata,
  storeCommit,
  type StoredCommit,
} from "./stored_commit.ts";

/** Metadata objects that are asked for at a time. */
const METADATA_AT_A_TIME = 32;

/** A commit that is about to be pulled, for those who check signatures. */
export interface ArrivedCommit {
  /** Its checksum, which was verified. */
  readonly checksum: Checksum;
  /** The commit object's bytes. */
  readonly bytes: Uint8Array;
  /** The commit object. */
  readonly commit: Commit;
  /** Its detached metadata, not verified. */
  readonly detached: Uint8Array | undefined;
}

/** A commit whose objects may be brought together by other means than one by one. */
export interface PullTask {
  /** Where it is pulled to. */
  readonly repository: Repository;
  /** Where it is pulled from. */
  readonly source: OstreeSource;
  /** The commit. */
  readonly arrived: ArrivedCommit;
  /** Its objects so far. */
  readonly builder: CommitBuilder;
  /** What stored commits hold. */
  readonly bases: Bases;
}

/** What a static delta brought. */
export interface DeltaResult {
  /** Metadata objects in it, the commit included. */
  readonly metadata: number;
  /** Files in it. */
  readonly files: number;
  /** Its parts. */
  readonly parts: number;
}

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

/** Counters of a pull. */
export interface OstreePullStats {
  /** Metadata objects that were fetched. */
  metadata: number;
  /** File objects that were fetched. */
  files: number;
  /** Objects that other stored commits had. */
  inherited: number;
  /** Files whose blocks are shared with the source. */
  cloned: number;
  /** Files with an object of their own that had to be copied. */
  copied: number;
  /** Bytes of new objects that were not shared. */
  bytesStored: number;
  /** What a static delta brought. */
  delta: DeltaResult | undefined;
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
    await this.#fetchObjects(arrived.commit);
    const tree = commitTree(this.#commit, (checksum) => this.#builder.get(checksum));
    const { image, more } = storeCommitImages(this.#repository, tree);
    const { pullTag } = this.#options;
    const stream = storeCommit(this.#repository, this.#commit, {
      entries: this.#builder.entries,
      image,
      more,
      detached: arrived.detached,
      ...(pullTag === undefined ? {} : { tagRef: commitTagRef(pullTag) }),
    });
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
    const { pullTag, verify } = this.#options;
    if (verify !== undefined) {
      // It may have come when nobody asked for signatures, and may have been signed since.
      const detached = await this.#source.readDetached(this.#commit) ??
        readDetachedMetadata(repository, stored);
      await verify({ checksum: this.#commit, bytes, commit: stored.commit, detached });
    }
    if (pullTag !== undefined) {
      tagCommit(repository, this.#commit, pullTag);
      repository.sync();
    }
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
    if (ref !== undefined && bound !== undefined && !bound.includes(ref)) {
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

  async #fetchObjects(commit: Commit): Promise<void> {
    const { objects, algorithm, secure } = this.#repository;
    const { jobs, signal } = this.#options;
    await using files = this.#source.importFiles({
      target: { objects: { dir: objects.makeDirectory().number, algorithm, secure } },
      arrived: (file) => this.#fileArrived(file),
      ...(jobs === undefined ? {} : { jobs }),
      ...(signal === undefined ? {} : { signal }),
    });
    const queue: Wanted[] = [];
    const seen = new Set<Checksum>();
    const want = (kind: Wanted["kind"], checksum: Checksum) => {
      if (seen.has(checksum)) return;
      seen.add(checksum);
      queue.push({ kind, checksum });
    };
    want("dirmeta", commit.rootMeta);
    want("dirtree", commit.rootTree);
    const limit = this.#source.remote ? METADATA_AT_A_TIME : 1;
    await drainQueue(queue, limit, async ({ kind, checksum }) => {
      signal?.throwIfAborted();
      this.#builder.claim(checksum, "metadata");
      const bytes = await this.#metadata(kind, checksum);
      if (kind === "dirmeta") {
        inObject(kind, checksum, () => parseDirMeta(bytes));
        return;
      }
      const tree = inObject(kind, checksum, () => parseDirTree(bytes));
      for (const dir of tree.dirs) {
        want("dirmeta", dir.meta);
        want("dirtree", dir.tree);
      }
      for (const file of tree.files) {
        if (seen.has(file.checksum)) {
          this.#builder.claim(file.checksum, "file");
          continue;
        }
        seen.add(file.checksum);
        await this.#file(files, file.checksum);
      }
    });
    await files.drain();
  }

  async #metadata(kind: Wanted["kind"], checksum: Checksum): Promise<Uint8Array> {
    const there = this.#builder.get(checksum);
    if (there !== undefined) return there.data;
    const inherited = this.#bases.metadata(checksum);
    let bytes: Uint8Array;
    if (inherited !== undefined) {
      this.#stats.inherited++;
      bytes = inherited.data;
    } else {
      bytes = await this.#source.readMetadata(kind, checksum);
      this.#stats.metadata++;
    }
    this.#builder.addMetadata(kind, checksum, bytes);
    return bytes;
  }

  async #file(files: FileImport, checksum: Checksum): Promise<void> {
    this.#builder.claim(checksum, "file");
    if (this.#builder.has(checksum)) return;
    const inherited = this.#bases.file(checksum);
    if (inherited === undefined) return await files.add(checksum);
    this.#stats.inherited++;
    this.#builder.addEntry(checksum, inherited);
  }

  #fileArrived(file: ImportedFile): void {
    this.#builder.addFile(file);
    const stats = this.#stats;
    stats.files++;
    if (file.object !== undefined) {
      if (file.object.cloned) stats.cloned++;
      else {
        stats.copied++;
        if (file.object.outcome === "new") stats.bytesStored += file.object.size;
      }
      if (file.object.outcome === "repaired") {
        this.#warn(`repaired damaged object ${file.object.id}`);
      }
    }
    const objects = stats.files + stats.metadata;
    this.#progress({ type: "progress", id: this.#commit, done: objects, objects });
  }

  #warn(text: string): void {
    this.#progress({ type: "warning", text });
  }
}

interface Wanted {
  readonly kind: Exclude<MetadataKind, "commit">;
  readonly checksum: Checksum;
}

/** Names the object in a fault of its format. */
function inObject<T>(kind: string, checksum: Checksum, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw withContext(`${kind} object ${checksum}: ${cause.message}`, cause);
  }
}

/** Works on items, a bounded number at a time, until none is left; work may add more. */
async function drainQueue<T>(
  queue: T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  try {
    while (queue.length > 0 || running.size > 0) {
      while (queue.length > 0 && running.size < limit) {
        const one: Promise<void> = work(queue.pop()!).finally(() => running.delete(one));
        running.add(one);
      }
      await Promise.race(running);
    }
  } finally {
    await Promise.allSettled(running);
  }
}
