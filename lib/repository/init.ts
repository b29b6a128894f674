/** Making repositories, and adopting old ones (spec: repository 3.1, 3.2, 14.3, 14.9). */
import {
  type Algorithm,
  ALGORITHMS,
  type ByteString,
  ConflictError,
  fromByteString,
  NotFoundError,
  withContext,
} from "../base/mod.ts";
import type { ErofsVersion } from "../erofs/mod.ts";
import {
  AT_FDCWD,
  DT,
  type Fd,
  flock,
  isErrno,
  measureVerity,
  mkdirAt,
  O,
  openAt,
  openDir,
  readDir,
  statAt,
  syncfs,
  unlinkAt,
} from "../../ffi/mod.ts";
import { type Metadata, newMetadata, sameMetadata } from "./meta.ts";
import {
  type MetadataFile,
  readMetadataFile,
  removeMetadataFile,
  writeMetadataFile,
} from "./meta_file.ts";

/** How to make a repository. */
export interface InitOptions {
  /** Algorithm of the objects. @default fsverity-sha512-12 */
  algorithm?: Algorithm;
  /** Whether fs-verity is not required. @default false */
  insecure?: boolean;
  /** EROFS format of images. @default 1 */
  erofsVersion?: ErofsVersion;
  /** Accept an existing repository whatever its settings (but the algorithm). @default false */
  ensure?: boolean;
  /** First remove `meta.json`, all streams and all images; objects stay. @default false */
  resetMetadata?: boolean;
}

/** What making a repository came to. */
export interface InitResult {
  /** `created`, `existing` (same settings), `preserved` (others), `upgraded` (had no metadata). */
  readonly outcome: "created" | "existing" | "preserved" | "upgraded";
  /** The metadata in effect. */
  readonly meta: Metadata;
  /** Whether fs-verity is required from now on. */
  readonly secure: boolean;
}

/**
 * Makes a repository, or checks that the existing one is as asked for.
 *
 * @throws {ConflictError} when there is one with other settings
 */
export function initRepository(path: string, options: InitOptions = {}): InitResult {
  const wanted = newMetadata(options.algorithm ?? ALGORITHMS.sha512, options.erofsVersion ?? 1);
  const made = makeDirectories(path);
  using root = openDir(AT_FDCWD, path);
  try {
    flock(root, "shared");
    if (options.resetMetadata) resetMetadata(root);
    return establish(root, { path, wanted }, options);
  } catch (error) {
    // Nothing was put in it: the directory is gone again when the reason was the file system.
    if (made && readDir(root).length === 0) unlinkAt(AT_FDCWD, path, { directory: true });
    throw error;
  }
}

function establish(
  root: Fd,
  target: { path: string; wanted: Metadata },
  options: InitOptions,
): InitResult {
  const { path, wanted } = target;
  const secure = !(options.insecure ?? false);
  const existing = readMetadataFile(root);
  if (existing !== undefined) return compare(existing, { wanted, secure, options });
  if (options.ensure && statAt(root, "objects") !== undefined) {
    const inferred = inferMetadata(root, path);
    checkAlgorithm(inferred.meta, wanted);
    return { outcome: "upgraded", ...adoptMetadata(root, inferred) };
  }
  writeMetadataFile(root, wanted, { secure });
  return { outcome: "created", meta: wanted, secure };
}

function compare(
  existing: { meta: Metadata; secure: boolean },
  want: { wanted: Metadata; secure: boolean; options: InitOptions },
): InitResult {
  const { wanted, options } = want;
  if (options.ensure) {
    checkAlgorithm(existing.meta, wanted);
    const outcome = sameMetadata(existing.meta, wanted) ? "existing" : "preserved";
    return { outcome, ...existing };
  }
  if (!sameMetadata(existing.meta, wanted)) {
    throw new ConflictError(
      `repository already initialized with different configuration ${
        settings(existing.meta)
      }; cannot re-initialize with ${settings(wanted)}`,
    );
  }
  if (want.secure && !existing.secure) {
    throw new ConflictError(
      "repository already initialized without fs-verity; cannot re-initialize it as one that requires it",
    );
  }
  return { outcome: "existing", ...existing };
}

function settings(meta: Metadata): string {
  return `(algorithm: ${meta.algorithm.id}, erofs_version: V${meta.erofsFormats.default})`;
}

function checkAlgorithm(found: Metadata, wanted: Metadata): void {
  if (found.algorithm.id === wanted.algorithm.id) return;
  throw new ConflictError(
    `repository algorithm ${found.algorithm.id} does not match expected ${wanted.algorithm.id}`,
  );
}

/** Removes names, never objects; nobody else may have the repository open. */
function resetMetadata(root: Fd): void {
  flock(root, "exclusive");
  for (const category of ["streams", "images"]) removeTree(root, category);
  removeMetadataFile(root);
  syncfs(root);
  flock(root, "shared");
}

/** Removes a directory and what is below; links are removed, not followed. */
function removeTree(dir: Fd, name: string): void {
  // Names are bytes: what another program called in some other encoding is removed as well.
  const pending: { path: ByteString; done: boolean }[] = [{ path: name, done: false }];
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    const directory = fromByteString(item.path);
    if (item.done) {
      unlinkAt(dir, directory, { directory: true });
      continue;
    }
    let entries;
    try {
      using fd = openDir(dir, directory);
      entries = readDir(fd);
    } catch (error) {
      if (isErrno(error, "ENOENT")) continue;
      throw error;
    }
    pending.push({ path: item.path, done: true });
    const parent = item.path;
    for (const entry of entries) {
      const path = `${parent}/${entry.name}`;
      if (entry.type === DT.DIR || !removeFile(dir, path)) pending.push({ path, done: false });
    }
  }
}

/** Removes anything but a directory; not every file system tells before what something is. */
function removeFile(dir: Fd, path: ByteString): boolean {
  try {
    unlinkAt(dir, fromByteString(path));
    return true;
  } catch (error) {
    if (isErrno(error, "EISDIR")) return false;
    throw error;
  }
}

/** Makes the directory (0700) with its parents; true when it was not there. */
function makeDirectories(path: string): boolean {
  const bare = path.replace(/\/+$/, "");
  if (bare === "") return false;
  for (let end = bare.indexOf("/", 1); end > 0; end = bare.indexOf("/", end + 1)) {
    const parent = bare.slice(0, end);
    if (statAt(AT_FDCWD, parent) === undefined) mkdirAt(AT_FDCWD, parent, 0o777);
  }
  return mkdirAt(AT_FDCWD, bare, 0o700);
}

/**
 * Infers the metadata of a repository that has objects but no `meta.json`: the first object found
 * tells the algorithm by the length of its name, and whether fs-verity is in use.
 *
 * @param path the repository's, for messages
 * @throws {NotFoundError} when there is no object to tell
 */
export function inferMetadata(root: Fd, path: string): MetadataFile {
  try {
    return metadataOfObjects(root);
  } catch (cause) {
    throw new NotFoundError("meta.json", path, {
      message: `no meta.json in ${path}; tried to infer algorithm from objects`,
      cause,
    });
  }
}

function metadataOfObjects(root: Fd): MetadataFile {
  let objects: Fd;
  try {
    objects = openDir(root, "objects");
  } catch (cause) {
    throw withContext("opening objects/ directory", cause);
  }
  using _objects = objects;
  for (const { name, type } of readDir(objects)) {
    if (name.length !== 2 || (type !== DT.DIR && type !== DT.UNKNOWN)) continue;
    using dir = openDir(objects, name);
    for (const file of readDir(dir)) {
      const algorithm = Object.values(ALGORITHMS).find((a) => a.size * 2 - 2 === file.name.length);
      if (algorithm === undefined) continue;
      // O_NONBLOCK: a fifo in the place of an object must not make us wait for ever.
      using fd = openAt(dir, file.name, { flags: O.RDONLY | O.NOFOLLOW | O.NONBLOCK });
      const measured = measureVerity(fd, algorithm);
      const secure = measured !== "missing" && measured !== "unsupported";
      return { meta: newMetadata(algorithm, 1), secure };
    }
  }
  throw new NotFoundError("object", "objects", {
    message: "no objects found in repository — cannot infer metadata",
  });
}

/**
 * Writes inferred metadata down while nobody else has the repository open.
 *
 * @returns what is in `meta.json` now: somebody else may have been faster
 */
export function adoptMetadata(root: Fd, inferred: MetadataFile): MetadataFile {
  flock(root, "exclusive");
  try {
    const found = readMetadataFile(root);
    if (found !== undefined) return found;
    writeMetadataFile(root, inferred.meta, { secure: inferred.secure });
    return inferred;
  } finally {
    flock(root, "shared");
  }
}
