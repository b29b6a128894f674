/** Downloads that were interrupted, kept to go on with; any program may remove them at any time. */
import {
  type Fd,
  flock,
  fstat,
  ftruncate,
  isErrno,
  lstatAt,
  O,
  openAt,
  openDir,
  openOrMakeDir,
  openTmpfile,
  readDir,
  tryFlock,
  unlinkAt,
} from "../../ffi/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { randomName } from "./names.ts";

/** Directory of unfinished downloads in the repository's root. */
const DIRECTORY = "downloads";
/** Age after which nobody is expected to go on with a download, in seconds. */
const MAX_AGE = 24 * 60 * 60;
/** Others may finish and remove a file between our opening and locking it; this often is enough. */
const TRIES = 8;

/** A file that takes a download; it belongs to one process at a time. */
export class DownloadFile implements Disposable {
  /** The file, readable and writable. */
  readonly fd: Fd;
  /** Bytes that an earlier run has left in it, from the start; nobody vouches for them. */
  readonly start: number;
  readonly #dir: Fd;
  readonly #name: string | undefined;

  /** Takes over both descriptors; without a name the file vanishes with its descriptor. */
  constructor(fd: Fd, place: { dir: Fd; name: string | undefined; start: number }) {
    this.fd = fd;
    this.start = place.start;
    this.#dir = place.dir;
    this.#name = place.name;
  }

  /** Whether the file stays when this process ends early. */
  get kept(): boolean {
    return this.#name !== undefined;
  }

  /** Forgets what is in the file, so that it begins anew. */
  reset(): void {
    ftruncate(this.fd, 0);
  }

  /** Gives back what the file takes on disk; also when it is closed already. */
  remove(): void {
    if (this.#name !== undefined && !this.#dir.closed) unlinkAt(this.#dir, this.#name);
  }

  /** Closes the file, which gives its lock back. */
  [Symbol.dispose](): void {
    this.fd.close();
  }
}

/**
 * The unfinished downloads of a repository.
 *
 * Each is a file named after its content's digest; who writes it holds an exclusive lock (flock).
 */
export class Downloads implements Disposable {
  readonly #dir: Fd;

  /** Opens the directory, making it when it is missing. */
  constructor(root: Fd) {
    this.#dir = openOrMakeDir(root, DIRECTORY);
  }

  /**
   * Opens the file for a download. When somebody else is at it, it is another one, without a name.
   *
   * @param name digest of what is downloaded, without a slash
   * @param size its size in bytes
   */
  open(name: string, size: number): DownloadFile {
    for (let tries = 0; tries < TRIES; tries++) {
      const file = this.#lock(name, size);
      if (file === "busy") break;
      if (file !== "gone") return file;
    }
    return new DownloadFile(this.#unnamed(), { dir: this.#dir, name: undefined, start: 0 });
  }

  #lock(name: string, size: number): DownloadFile | "busy" | "gone" {
    let fd: Fd;
    try {
      const flags = O.RDWR | O.CREAT | O.NOFOLLOW | O.NONBLOCK;
      fd = openAt(this.#dir, name, { flags, mode: 0o600 });
    } catch (error) {
      // Something else has the name, or somebody else.
      if (isErrno(error, "ELOOP", "EISDIR", "ENXIO", "EACCES")) return "busy";
      throw error;
    }
    try {
      if (!tryFlock(fd, "exclusive")) return release(fd, "busy");
      const { nlink, size: there, isFile } = fstat(fd);
      if (!isFile) return release(fd, "busy");
      if (nlink === 0) return release(fd, "gone");
      const start = there > size ? 0 : there;
      if (start !== there) ftruncate(fd, start);
      return new DownloadFile(fd, { dir: this.#dir, name, start });
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  #unnamed(): Fd {
    try {
      return openTmpfile(this.#dir, 0o600);
    } catch (error) {
      if (!isErrno(error, "EOPNOTSUPP", "EISDIR", "ENOSYS")) throw error;
    }
    const name = `.unnamed-${randomName()}`;
    const flags = O.RDWR | O.CREAT | O.EXCL;
    const fd = openAt(this.#dir, name, { flags, mode: 0o600 });
    unlinkAt(this.#dir, name);
    return fd;
  }

  /** Closes the directory; files that are open stay so, but cannot be removed any more. */
  [Symbol.dispose](): void {
    this.#dir.close();
  }
}

/** Bytes that an unfinished download has left. */
export function heldDownload(state: RepositoryState, name: string): number {
  const found = lstatAt(state.root, `${DIRECTORY}/${name}`);
  return found?.isFile ? found.size : 0;
}

function release<T>(fd: Fd, result: T): T {
  fd.close();
  return result;
}

/**
 * Removes downloads that nobody is at and nobody went on with for a day.
 *
 * @param options.unlink removes a file by its path in the repository, or only pretends to
 * @returns the number of files
 */
export function pruneDownloads(
  state: RepositoryState,
  options: { unlink: (path: string) => boolean; dryRun: boolean },
): number {
  let dir: Fd;
  try {
    dir = openDir(state.root, DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return 0;
    throw error;
  }
  using _dir = dir;
  let removed = 0;
  let left = 0;
  for (const { name } of readDir(dir)) {
    if (isAbandoned(dir, name) && options.unlink(`${DIRECTORY}/${name}`)) removed++;
    else left++;
  }
  if (left === 0 && !options.dryRun) unlinkAt(state.root, DIRECTORY, { directory: true });
  return removed;
}

function isAbandoned(dir: Fd, name: string): boolean {
  let fd: Fd;
  try {
    fd = openAt(dir, name, { flags: O.RDONLY | O.NONBLOCK | O.NOFOLLOW });
  } catch (error) {
    if (isErrno(error, "ENOENT", "ELOOP", "EACCES", "ENXIO")) return false; // nothing of ours
    throw error;
  }
  using _fd = fd;
  const { isFile, mtimeSec } = fstat(fd);
  if (!isFile || Date.now() / 1000 - Number(mtimeSec) < MAX_AGE) return false;
  if (!tryFlock(fd, "exclusive")) return false;
  flock(fd, "unlock");
  return true;
}
