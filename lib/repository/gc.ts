/** Garbage collection (spec: repository 8, 14.5). */
import {
  ComposefsError,
  FormatError,
  type ObjectId,
  objectPath,
  type ProgressSink,
  Turns,
} from "../base/mod.ts";
import { ErrnoError, errnoText, flock, isErrno, readDir, statAt, unlinkAt } from "../../ffi/mod.ts";
import { assertWritable, type RepositoryState, syncRepository } from "./_state.ts";
import { forgetGone } from "./damage_list.ts";
import { pruneDownloads } from "./downloads.ts";
import { entryObject, listEntries } from "./entries.ts";
import { reasonOf } from "./fsck_report.ts";
import { CATEGORIES, Marker, objectIsThere } from "./gc_mark.ts";
import { TMP_LINK_PREFIX } from "./links.ts";
import { TMP_OBJECT_PREFIX } from "./object_write.ts";
import { type Category, listRefs } from "./refs.ts";

/** How to collect garbage. */
export interface GcOptions {
  /** Only say what would be done. @default false */
  dryRun?: boolean;
  /**
   * Further roots: entry names of either category, images as `sha256:…` or `@sha256:…`, or reference
   * names.
   */
  roots?: readonly string[];
  /**
   * Names below `streams/refs` that are no roots any more and are removed; asked for under the lock.
   */
  staleRefs?: () => Iterable<string>;
  /** Told how many objects were found to be needed (`mark`), then looked at (`objects`). */
  progress?: ProgressSink;
}

/** What was (or would be) removed. */
export interface GcResult {
  /** Whether nothing was really removed. */
  readonly dryRun: boolean;
  /** Objects removed. */
  readonly objectsRemoved: number;
  /** Their size in bytes. */
  readonly objectsBytes: number;
  /** Links removed in `images/`, references included. */
  readonly imagesPruned: number;
  /** Links removed in `streams/`, references included. */
  readonly streamsPruned: number;
  /** Left-over temporary files removed. */
  readonly temporariesRemoved: number;
  /** What was met and left alone or repaired. */
  readonly warnings: readonly string[];
}

/**
 * Removes every object that no reference leads to. Waits until nobody else has the repository open.
 *
 * @throws {NotFoundError} for an unknown root
 * @throws {ComposefsError} when a root cannot be read; nothing is removed then
 */
export function collectGarbage(state: RepositoryState, options: GcOptions = {}): GcResult {
  const work = lockedWork(state, options);
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/**
 * As {@linkcode collectGarbage}, but others in this program get their turns. They must leave the
 * repository alone meanwhile: what they store may be removed.
 *
 * @throws as {@linkcode collectGarbage}
 */
export async function collectGarbageInTurns(
  state: RepositoryState,
  options: GcOptions = {},
): Promise<GcResult> {
  const turns = new Turns();
  const work = lockedWork(state, options);
  try {
    for (;;) {
      const { done, value } = work.next();
      if (done) return value;
      if (turns.due) await turns.give();
    }
  } finally {
    work.return(undefined as never); // gives the lock back in any case
  }
}

/** The work under the lock that it takes; each step is short. */
function* lockedWork(
  state: RepositoryState,
  options: GcOptions,
): Generator<undefined, GcResult, void> {
  if (options.dryRun) return yield* collect(state, options);
  assertWritable(state);
  flock(state.root, "exclusive");
  try {
    // Upgrading the lock lets others in for a moment, so nothing that was read before counts.
    return yield* collect(state, options);
  } finally {
    flock(state.root, "shared");
  }
}

/** Marks step by step. */
function* marked(
  marker: Marker,
  options: GcOptions & { stale: ReadonlySet<string> },
): Generator<undefined, ReadonlySet<ObjectId>, void> {
  const { progress } = options;
  progress?.({ type: "started", id: "mark", unit: "objects" });
  const steps = marker.mark(options.roots ?? [], options.stale);
  for (;;) {
    const { done, value } = steps.next();
    if (done) {
      progress?.({ type: "done", id: "mark", transferred: value.size });
      return value;
    }
    progress?.({ type: "progress", id: "mark", done: value });
    yield;
  }
}

/** Objects that are looked at in one step. */
const STEP = 256;

function* collect(
  state: RepositoryState,
  options: GcOptions,
): Generator<undefined, GcResult, void> {
  const { progress } = options;
  const warnings: string[] = [];
  const stale = new Set(options.staleRefs?.());
  const live = yield* marked(new Marker(state, warnings), { ...options, stale });
  const dryRun = options.dryRun ?? false;
  let seen = 0;
  let objectsRemoved = 0;
  let objectsBytes = 0;
  let temporariesRemoved = 0;
  const unlink = (path: string): boolean => {
    try {
      return dryRun || unlinkAt(state.root, path);
    } catch (error) {
      if (!isErrno(error, "EISDIR", "EPERM", "EACCES", "EBUSY")) throw error;
      warnings.push(`${path} cannot be removed (${errnoText(error.errno)}); left alone`);
      return false;
    }
  };
  progress?.({ type: "started", id: "objects", unit: "objects" });
  for (const entry of state.objects.entries()) {
    if (typeof entry !== "string") {
      if (!entry.path.startsWith(`objects/${TMP_OBJECT_PREFIX}`)) {
        warnings.push(`${entry.path} is no object (${entry.reason}); left alone`);
      } else if (unlink(entry.path)) temporariesRemoved++;
      continue;
    }
    if (++seen % STEP === 0) {
      progress?.({ type: "progress", id: "objects", done: seen });
      yield;
    }
    if (live.has(entry)) continue;
    const size = state.objects.size(entry) ?? 0;
    if (!unlink(`objects/${objectPath(entry)}`)) continue;
    objectsRemoved++;
    objectsBytes += size;
  }
  progress?.({ type: "done", id: "objects", transferred: seen });
  for (const { name } of readDir(state.root)) {
    if (name.startsWith(TMP_LINK_PREFIX) && unlink(name)) temporariesRemoved++;
  }
  temporariesRemoved += pruneDownloads(state, { unlink, dryRun });
  const [imagesPruned, streamsPruned] = CATEGORIES.map((category) =>
    pruneLinks(state, category, { live, unlink, stale: category === "streams" ? stale : NONE })
  );
  if (!dryRun) {
    removeEmptyDirectories(state, stale);
    syncRepository(state);
    try {
      forgetGone(state);
    } catch (error) {
      // A whole check writes the list anew, too; until then it is only longer than it need be.
      if (!(error instanceof ComposefsError)) throw error;
      warnings.push(`objects that are gone stay on the list of damaged ones: ${reasonOf(error)}`);
    }
  }
  return {
    dryRun,
    objectsRemoved,
    objectsBytes,
    imagesPruned: imagesPruned!,
    streamsPruned: streamsPruned!,
    temporariesRemoved,
    warnings,
  };
}

const NONE: ReadonlySet<string> = new Set();

/** Removes entries whose object is gone, then references whose entry is gone or that are stale. */
function pruneLinks(
  state: RepositoryState,
  category: Category,
  options: {
    live: ReadonlySet<ObjectId>;
    stale: ReadonlySet<string>;
    unlink: (path: string) => boolean;
  },
): number {
  let pruned = 0;
  const kept = new Set<string>();
  const remove = (path: string) => {
    if (options.unlink(path)) pruned++;
  };
  for (const { name, isLink } of listEntries(state.root, category)) {
    if (!isLink) continue;
    if (entryIsLive(state, category, { name, live: options.live })) kept.add(name);
    else remove(`${category}/${name}`);
  }
  for (const ref of listRefs(state, category)) {
    if (!kept.has(ref.entry) || options.stale.has(ref.name)) {
      remove(`${category}/refs/${ref.name}`);
    }
  }
  return pruned;
}

/** Removes the directories that removed references leave empty. */
function removeEmptyDirectories(state: RepositoryState, names: Iterable<string>): void {
  const parents = new Set<string>();
  for (const name of names) {
    const slash = name.lastIndexOf("/");
    if (slash > 0) parents.add(name.slice(0, slash));
  }
  for (const parent of parents) {
    try {
      unlinkAt(state.root, `streams/refs/${parent}`, { directory: true });
    } catch (error) {
      // Something else is in it, or was never a directory of ours; that is not ours to remove.
      if (!isErrno(error, "ENOTEMPTY", "EEXIST", "ENOTDIR")) throw error;
    }
  }
}

function entryIsLive(
  state: RepositoryState,
  category: Category,
  entry: { name: string; live: ReadonlySet<ObjectId> },
): boolean {
  try {
    const id = entryObject(state, category, entry.name);
    return id !== undefined && entry.live.has(id) && objectIsThere(state, id);
  } catch (error) {
    // A link that leads to no object at all is kept unless it surely leads nowhere.
    if (error instanceof FormatError) return !leadsNowhere(state, `${category}/${entry.name}`);
    throw error;
  }
}

function leadsNowhere(state: RepositoryState, path: string): boolean {
  try {
    return statAt(state.root, path) === undefined;
  } catch (error) {
    if (error instanceof ErrnoError) return false; // a loop, for example: left for fsck to report
    throw error;
  }
}
