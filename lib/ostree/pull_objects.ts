/** Bringing the objects of a commit together (spec: ostree 6). */
import { FormatError, type ProgressSink, Turns, withContext } from "../base/mod.ts";
import { healingWrites, type Repository } from "../repository/mod.ts";
import type { Bases } from "./bases.ts";
import type { Checksum } from "./checksum.ts";
import type { CommitBuilder } from "./commit_builder.ts";
import type { Commit } from "./commit_object.ts";
import { parseDirMeta } from "./dirmeta.ts";
import { type DirTree, parseDirTree } from "./dirtree.ts";
import type { MetadataKind } from "./object_kind.ts";
import type { DeltaResult } from "./pull_task.ts";
import type { FileImport, ImportedFile, OstreeSource } from "./source.ts";

/** Metadata objects that are asked for at a time. */
const METADATA_AT_A_TIME = 32;

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

/** What objects are brought with. */
export interface ObjectPullOptions {
  /** Where they go. */
  readonly repository: Repository;
  /** Where they come from. */
  readonly source: OstreeSource;
  /** Those that are there already, and those that come. */
  readonly builder: CommitBuilder;
  /** What stored commits hold. */
  readonly bases: Bases;
  /** Counts what comes. */
  readonly stats: OstreePullStats;
  /** Threads or requests at a time. @default the source's choice */
  readonly jobs?: number | undefined;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Told how far it is, and about warnings. */
  readonly progress: ProgressSink;
}

interface Wanted {
  readonly kind: Exclude<MetadataKind, "commit">;
  readonly checksum: Checksum;
}

/** Walks the tree of one commit and brings what is missing of it. */
export class ObjectPull {
  readonly #commit: Checksum;
  readonly #options: ObjectPullOptions;
  readonly #trees = new Map<Checksum, DirTree>();
  readonly #seen = new Set<Checksum>();
  readonly #queue: Wanted[] = [];
  readonly #turns = new Turns();

  /** Prepares to bring the objects of `commit`. */
  constructor(commit: Checksum, options: ObjectPullOptions) {
    this.#commit = commit;
    this.#options = options;
  }

  /** The directories that came by: they need not be parsed again. */
  get trees(): ReadonlyMap<Checksum, DirTree> {
    return this.#trees;
  }

  /**
   * Brings all objects.
   *
   * @throws {NotFoundError} when one is not there
   * @throws {DigestMismatchError} when one is not what its name says
   * @throws {FormatError} when one is malformed
   */
  async run(commit: Commit): Promise<void> {
    const { repository, source, jobs, signal } = this.#options;
    await using files = source.importFiles({
      target: { objects: healingWrites(repository) },
      arrived: (file) => this.#fileArrived(file),
      ...(jobs === undefined ? {} : { jobs }),
      ...(signal === undefined ? {} : { signal }),
    });
    this.#want("dirmeta", commit.rootMeta);
    this.#want("dirtree", commit.rootTree);
    const limit = source.remote ? METADATA_AT_A_TIME : 1;
    await drainQueue(this.#queue, limit, (wanted) => this.#bring(wanted, files));
    await files.drain();
  }

  #want(kind: Wanted["kind"], checksum: Checksum): void {
    if (this.#seen.has(checksum)) return;
    this.#seen.add(checksum);
    this.#queue.push({ kind, checksum });
  }

  async #bring({ kind, checksum }: Wanted, files: FileImport): Promise<void> {
    const { builder, signal } = this.#options;
    signal?.throwIfAborted();
    builder.claim(checksum, "metadata");
    const bytes = this.#metadataAtHand(kind, checksum) ?? await this.#fetch(kind, checksum);
    if (kind === "dirmeta") {
      inObject(kind, checksum, () => parseDirMeta(bytes));
      return;
    }
    const tree = inObject(kind, checksum, () => parseDirTree(bytes));
    this.#trees.set(checksum, tree);
    for (const dir of tree.dirs) {
      this.#want("dirmeta", dir.meta);
      this.#want("dirtree", dir.tree);
    }
    for (const file of tree.files) {
      // Most need not be waited for, and waiting costs more than all else that is done here.
      const pause = this.#file(files, file.checksum);
      if (pause !== undefined) await pause;
    }
    // Where all is local nothing else is ever waited for.
    if (this.#turns.due) await this.#turns.give(signal);
  }

  /** Metadata that is there already. */
  #metadataAtHand(kind: Wanted["kind"], checksum: Checksum): Uint8Array | undefined {
    const { bases, builder, stats } = this.#options;
    const there = builder.get(checksum);
    if (there !== undefined) return there.data;
    const inherited = bases.metadata(checksum);
    if (inherited === undefined) return undefined;
    stats.inherited++;
    builder.addMetadata(kind, checksum, inherited.data);
    return inherited.data;
  }

  async #fetch(kind: Wanted["kind"], checksum: Checksum): Promise<Uint8Array> {
    const { builder, source, stats } = this.#options;
    const bytes = await source.readMetadata(kind, checksum);
    stats.metadata++;
    builder.addMetadata(kind, checksum, bytes);
    return bytes;
  }

  /** Takes a file from where it is; gives a promise when there is something to wait for. */
  #file(files: FileImport, checksum: Checksum): Promise<void> | undefined {
    const { bases, builder, stats } = this.#options;
    builder.claim(checksum, "file");
    if (this.#seen.has(checksum)) return undefined;
    this.#seen.add(checksum);
    if (builder.has(checksum)) return undefined;
    const inherited = bases.file(checksum);
    if (inherited === undefined) return files.add(checksum);
    stats.inherited++;
    builder.addEntry(checksum, inherited);
    return undefined;
  }

  #fileArrived(file: ImportedFile): void {
    const { builder, progress, stats } = this.#options;
    builder.addFile(file);
    stats.files++;
    if (file.object !== undefined) {
      if (file.object.cloned) stats.cloned++;
      else {
        stats.copied++;
        if (file.object.outcome === "new") stats.bytesStored += file.object.size;
      }
      if (file.object.outcome === "repaired") {
        progress({ type: "warning", text: `repaired damaged object ${file.object.id}` });
      }
    }
    const objects = stats.files + stats.metadata;
    progress({ type: "progress", id: this.#commit, done: objects, objects });
  }
}

/** Names the object in a fault of its format. */
export function inObject<T>(kind: string, checksum: Checksum, parse: () => T): T {
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
  // Of several that end at the same time a race tells of one only.
  const failures: unknown[] = [];
  while (failures.length === 0 && (queue.length > 0 || running.size > 0)) {
    while (queue.length > 0 && running.size < limit) {
      const one: Promise<void> = work(queue.pop()!)
        .catch((error) => void failures.push(error))
        .finally(() => running.delete(one));
      running.add(one);
    }
    await Promise.race(running);
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
}
