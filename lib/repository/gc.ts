/** Garbage collection (spec: repository 8, 14.5). */
import {
  ComposefsError,
  FormatError,
  NotFoundError,
  type ObjectId,
  objectPath,
  withContext,
} from "../base/mod.ts";
import {
  ErrnoError,
  errnoText,
  flock,
  isErrno,
  preadFull,
  readDir,
  statAt,
  unlinkAt,
} from "../../ffi/mod.ts";
import { listObjects } from "../erofs/mod.ts";
import { isSplitstream, SPLITSTREAM_HEAD_SIZE } from "../splitstream/mod.ts";
import { assertWritable, type RepositoryState, syncRepository } from "./_state.ts";
import { pruneDownloads } from "./downloads.ts";
import { entryObject, listEntries } from "./entries.ts";
import { imageDigest, readImage } from "./images.ts";
import { TMP_LINK_PREFIX } from "./links.ts";
import { TMP_OBJECT_PREFIX } from "./object_write.ts";
import { type Category, listRefs, UNREADABLE_DIRECTORY, walkRefs } from "./refs.ts";
import { openStreamObject } from "./streams.ts";

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

const CATEGORIES: readonly Category[] = ["images", "streams"];

/**
 * Removes every object that no reference leads to. Waits until nobody else has the repository open.
 *
 * @throws {NotFoundError} for an unknown root
 * @throws {ComposefsError} when a root cannot be read; nothing is removed then
 */
export function collectGarbage(state: RepositoryState, options: GcOptions = {}): GcResult {
  const dryRun = options.dryRun ?? false;
  if (dryRun) return collect(state, options);
  assertWritable(state);
  flock(state.root, "exclusive");
  try {
    // Upgrading the lock lets others in for a moment, so nothing that was read before counts.
    return collect(state, options);
  } finally {
    flock(state.root, "shared");
  }
}

function collect(state: RepositoryState, options: GcOptions): GcResult {
  const warnings: string[] = [];
  const stale = new Set(options.staleRefs?.());
  const live = new Marker(state, warnings).mark(options.roots ?? [], stale);
  const dryRun = options.dryRun ?? false;
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
  for (const entry of state.objects.entries()) {
    if (typeof entry !== "string") {
      if (!entry.path.startsWith(`objects/${TMP_OBJECT_PREFIX}`)) {
        warnings.push(`${entry.path} is no object (${entry.reason}); left alone`);
      } else if (unlink(entry.path)) temporariesRemoved++;
      continue;
    }
    if (live.has(entry)) continue;
    const size = state.objects.size(entry) ?? 0;
    if (!unlink(`objects/${objectPath(entry)}`)) continue;
    objectsRemoved++;
    objectsBytes += size;
  }
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

/** Whether an object can be reached; a file in the place of its directory is as good as nothing. */
function objectIsThere(state: RepositoryState, id: ObjectId): boolean {
  try {
    return state.objects.size(id) !== undefined;
  } catch (error) {
    if (isErrno(error, "ENOTDIR")) return false;
    throw error;
  }
}

/** Finds everything that the roots need. */
class Marker {
  readonly #state: RepositoryState;
  readonly #warnings: string[];
  readonly #live = new Set<ObjectId>();
  readonly #images = new Set<ObjectId>();
  readonly #streams = new Set<ObjectId>();
  /** Objects of the entries of `streams/` and `images/`, to tell what a named reference leads to. */
  readonly #streamObjects = new Set<ObjectId>();
  readonly #imageObjects = new Set<ObjectId>();

  constructor(state: RepositoryState, warnings: string[]) {
    this.#state = state;
    this.#warnings = warnings;
  }

  /** `stale` are references to streams that do not count. */
  mark(roots: readonly string[], stale: ReadonlySet<string>): ReadonlySet<ObjectId> {
    this.#index("streams", this.#streamObjects);
    this.#index("images", this.#imageObjects);
    for (const category of CATEGORIES) {
      for (const item of walkRefs(this.#state.root, category)) {
        if (!("name" in item)) {
          if (item.fileType === UNREADABLE_DIRECTORY) {
            throw new ComposefsError(
              "CFS_FAILED",
              `Cannot look for references in ${item.path}, so nothing was removed`,
            );
          }
          this.#warnings.push(`${item.path} is no reference (${item.fileType}); left alone`);
          continue;
        }
        if (category === "streams" && stale.has(item.name)) continue;
        this.#markEntry(category, { entry: item.entry, ref: `${category}/refs/${item.name}` });
      }
    }
    for (const root of roots) this.#markRoot(root);
    return this.#live;
  }

  #index(category: Category, objects: Set<ObjectId>): void {
    for (const { name, isLink } of listEntries(this.#state.root, category)) {
      if (!isLink) {
        this.#warnings.push(`${category}/${name} is no symbolic link; left alone`);
        continue;
      }
      try {
        const id = entryObject(this.#state, category, name);
        if (id !== undefined) objects.add(id);
      } catch (error) {
        // No object's name is in the link, so nothing is lost; a link that cannot be read is no such.
        if (!(error instanceof FormatError)) throw error;
        this.#warnings.push(`${category}/${name}: ${error.message}`);
      }
    }
  }

  /** A root from the command line: an entry of either category, an image's digest, or a reference. */
  #markRoot(root: string): void {
    let found = false;
    const image = imageDigest(this.#state, root);
    for (const category of CATEGORIES) {
      const entries = new Set(listEntries(this.#state.root, category).map(({ name }) => name));
      const refs = listRefs(this.#state, category);
      const bare = root.startsWith("refs/") ? root.slice("refs/".length) : root;
      const entry = entries.has(root)
        ? root
        : category === "images" && image !== undefined && entries.has(image)
        ? image
        : refs.find((ref) => ref.name === bare)?.entry;
      if (entry === undefined) continue;
      found = true;
      this.#markEntry(category, { entry, ref: `--root ${root}` });
    }
    if (!found) throw new NotFoundError("root", root);
  }

  #markEntry(category: Category, root: { entry: string; ref: string }): void {
    let id: ObjectId | undefined;
    try {
      id = root.entry === "" ? undefined : entryObject(this.#state, category, root.entry);
      if (id === undefined || !objectIsThere(this.#state, id)) {
        this.#warnings.push(`${root.ref} leads nowhere (${root.entry}); it is pruned`);
        return;
      }
      if (category === "images") this.#markImage(id);
      else this.#markStreams(id);
    } catch (cause) {
      throw withContext(
        `Cannot read ${root.ref} (${category}/${root.entry}), so nothing was removed`,
        cause,
      );
    }
  }

  #markImage(id: ObjectId): void {
    this.#live.add(id);
    if (this.#images.has(id)) return;
    this.#images.add(id);
    const image = readImage(this.#state, id);
    for (const object of listObjects(image, { hash: this.#state.algorithm.hash })) {
      this.#live.add(object);
    }
  }

  /** Marks a stream and everything that can be reached from it. */
  #markStreams(first: ObjectId): void {
    const pending = [first];
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      this.#live.add(id);
      if (this.#streams.has(id)) continue;
      this.#streams.add(id);
      const stream = openStreamObject(this.#state, id);
      for (const object of stream.objectRefs) this.#live.add(object);
      const images = new Set<ObjectId>();
      for (const [name, target] of stream.namedRefs) {
        if (name.startsWith("composefs.image")) images.add(target);
      }
      for (const target of stream.streamRefs) {
        this.#live.add(target);
        if (!objectIsThere(this.#state, target)) {
          this.#warnings.push(`object ${target}, named by stream object ${id}, is missing`);
        } else if (images.has(target) || this.#imageObjects.has(target)) this.#markImage(target);
        else if (this.#streamObjects.has(target) || isStream(this.#state, target)) {
          pending.push(target);
        }
      }
    }
  }
}

/**
 * Whether an object is a splitstream. A stream that got another object since it was referred to has
 * no name any more; what it needs is needed all the same.
 */
function isStream(state: RepositoryState, id: ObjectId): boolean {
  const { fd } = state.objects.open(id);
  using _fd = fd;
  const head = new Uint8Array(4096).subarray(0, SPLITSTREAM_HEAD_SIZE);
  return isSplitstream(head.subarray(0, preadFull(fd, head, 0)));
}
