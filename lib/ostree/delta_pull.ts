/** Static deltas as a way to bring the objects of a commit together (spec: ostree 7.4). */
import { ComposefsError, NotFoundError, type ProgressSink } from "../base/mod.ts";
import type { Fd } from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import { applyDelta, type DeltaParts } from "./delta_apply.ts";
import { readLocalDelta } from "./delta_files.ts";
import { StoredBase, StoringSink } from "./delta_storage.ts";
import {
  type DeltaSuperblock,
  openDeltaEnvelope,
  parseDeltaSuperblock,
} from "./delta_superblock.ts";
import type { MetadataEntries } from "./commit_object.ts";
import type { MetadataKind } from "./object_kind.ts";
import {
  type ArrivedCommit,
  type DeltaResult,
  type OstreePullOptions,
  type OstreePullResult,
  pullCommit,
  type PullTask,
} from "./pull.ts";
import type { FileImport, OstreeSource, ResolvedRef } from "./source.ts";

/**
 * Applies a delta to a pull: its objects are stored and known to the pull, which takes those that
 * did not change from stored commits and fetches what is still missing.
 *
 * @throws {NotFoundError} when the commit that the delta starts from is not stored
 * @throws {ComposefsError} as {@linkcode applyDelta}
 */
export async function applyDeltaToPull(
  delta: DeltaSuperblock,
  parts: DeltaParts,
  options: { task: PullTask; signal?: AbortSignal; progress?: ProgressSink },
): Promise<DeltaResult> {
  const { task, ...rest } = options;
  if (delta.from !== undefined && !task.bases.add(delta.from)) throw noBase(delta.from);
  using sink = new StoringSink(task);
  const counts = await applyDelta(delta, {
    parts,
    base: new StoredBase(task.repository, task.bases),
    sink,
    scratch: () => openDeltaScratch(task.repository),
    ...rest,
  });
  return { metadata: counts.metadata + 1, files: counts.files, parts: delta.parts.length };
}

/** Opens an unnamed file in a repository. Loaded on use: few deltas have parts so large. */
export async function openDeltaScratch({ path }: Repository): Promise<Fd> {
  const { openScratch } = await import("../transport/mod.ts");
  return openScratch(path);
}

function noBase(from: Checksum): NotFoundError {
  const message = `base commit ${from} not found in repository`;
  return new NotFoundError("ostree commit", from, { message });
}

/** A delta as the only source of a commit: what it does not bring must be stored already. */
class DeltaOnly implements OstreeSource {
  readonly location: string;
  readonly remote = false;
  readonly #delta: DeltaSuperblock;

  constructor(location: string, delta: DeltaSuperblock) {
    this.location = location;
    this.#delta = delta;
  }

  resolve(_reference: string): Promise<ResolvedRef> {
    return Promise.resolve({ commit: this.#delta.to, ref: undefined });
  }

  checkCommit(_commit: Checksum): Promise<void> {
    return Promise.resolve();
  }

  readMetadata(kind: MetadataKind, checksum: Checksum): Promise<Uint8Array> {
    const { to, commitBytes } = this.#delta;
    if (kind === "commit" && checksum === to) return Promise.resolve(commitBytes.slice());
    return Promise.reject(this.#missing(kind, checksum));
  }

  readDetached(_commit: Checksum): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#delta.detached?.slice());
  }

  importFiles(): FileImport {
    return {
      add: (checksum) => Promise.reject(this.#missing("file", checksum)),
      drain: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  #missing(kind: string, checksum: Checksum): NotFoundError {
    const message = `delta incomplete: missing ${kind} ${checksum}`;
    return new NotFoundError("object", checksum, { message });
  }

  [Symbol.dispose](): void {}
}

/** How a local delta is applied. */
export interface ApplyLocalDeltaOptions
  extends Pick<OstreePullOptions, "signal" | "progress" | "baseName"> {
  /** Tag to make. */
  tag?: string;
  /** The commit that the delta must lead to. @default any */
  commit?: Checksum;
  /** Checks signatures over the superblock, when it is signed, and of the commit. */
  verify?: (
    commit: ArrivedCommit,
    signed: { superblock: Uint8Array; signatures: MetadataEntries | undefined },
  ) => void | Promise<void>;
}

/**
 * Stores the commit that a local delta makes, as a pull would.
 *
 * @param path a superblock, a delta in a single file, or a delta's directory
 * @throws {NotFoundError} when the commit that the delta starts from is not stored
 * @throws {ComposefsError} when it is malformed, incomplete, or not what it says
 */
export async function applyLocalDelta(
  repository: Repository,
  path: string,
  options: ApplyLocalDeltaOptions = {},
): Promise<OstreePullResult> {
  const { bytes, parts } = readLocalDelta(path);
  const envelope = openDeltaEnvelope(bytes);
  const delta = parseDeltaSuperblock(envelope.superblock);
  if (options.commit !== undefined && delta.to !== options.commit) {
    throw new ComposefsError("CFS_FAILED", `Delta leads to ${delta.to}, not ${options.commit}`);
  }
  const { verify, signal, progress, baseName } = options;
  using source = new DeltaOnly(path, delta);
  return await pullCommit(repository, source, {
    reference: delta.to,
    tag: options.tag ?? null,
    ...(signal === undefined ? {} : { signal }),
    ...(progress === undefined ? {} : { progress }),
    ...(baseName === undefined ? {} : { baseName }),
    ...(verify === undefined ? {} : { verify: (commit) => verify(commit, envelope) }),
    delta: (task) => {
      const { length } = delta.fallbacks;
      if (length > 0) {
        const noun = length === 1 ? "entry" : "entries";
        const message = `cannot apply delta offline: contains ${length} fallback ${noun}`;
        throw new ComposefsError("CFS_FAILED", message);
      }
      return applyDeltaToPull(delta, parts, {
        task,
        ...(signal === undefined ? {} : { signal }),
        ...(progress === undefined ? {} : { progress }),
      });
    },
  });
}
