/** Static deltas in local files (spec: ostree 7.1, 7.4). */
import { dirname, join } from "node:path/posix";
import { FormatError, withContext } from "../base/mod.ts";
import {
  addressable,
  AT_FDCWD,
  fstat,
  isErrno,
  mkdirAt,
  O,
  openPath,
  preadFull,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import type { DeltaParts } from "./delta_apply.ts";
import { MAX_PART_SIZE, type PartFileContent } from "./delta_part.ts";
import type { DeltaPartEntry } from "./delta_superblock.ts";

/** Largest file of a delta that is read, in bytes: inline parts make superblocks large. */
const MAX_FILE = 1024 * 1024 * 1024;
/** Parts that are larger are read by and by. */
const IN_MEMORY = 8 * 1024 * 1024;
const S_IFDIR = 0o040000;
const S_IFMT = 0o170000;

/** A delta's files. */
export interface LocalDelta {
  /** The superblock's file, signed wrapper included. */
  readonly bytes: Uint8Array;
  /** Its parts beside it. */
  readonly parts: DeltaParts;
}

/**
 * Reads a delta: the file of a superblock, a delta in a single file, or a delta's directory.
 *
 * @throws {ErrnoError} when it is not there
 * @throws {FormatError} when it is larger than 1 GiB
 */
export function readLocalDelta(path: string): LocalDelta {
  try {
    const file = isDirectory(path) ? join(path, "superblock") : path;
    const bytes = readWhole(file, MAX_FILE);
    return { bytes, parts: { read: (entry) => readPart(dirname(file), entry) } };
  } catch (cause) {
    throw withContext(`opening delta at ${path}`, cause);
  }
}

function isDirectory(path: string): boolean {
  using fd = openPath(path, { flags: O.PATH });
  return (fstat(fd).mode & S_IFMT) === S_IFDIR;
}

// deno-lint-ignore require-await -- what it throws arrives as a rejection
async function readPart(directory: string, entry: DeltaPartEntry): Promise<PartFileContent> {
  const path = join(directory, String(entry.index));
  try {
    if (entry.size <= IN_MEMORY) return readWhole(path, entry.size);
    using cleanup = new DisposableStack();
    const fd = cleanup.use(openPath(path, { flags: O.RDONLY | O.NONBLOCK }));
    checkSize(path, fstat(fd).size, Math.min(entry.size, MAX_PART_SIZE));
    cleanup.move();
    return fd;
  } catch (cause) {
    if (!isErrno(cause, "ENOENT")) throw cause;
    throw withContext(`opening delta part ${path}`, cause);
  }
}

function readWhole(path: string, limit: number): Uint8Array {
  // O_NONBLOCK: a fifo in the place of a file must not make us wait for ever.
  using fd = openPath(path, { flags: O.RDONLY | O.NONBLOCK });
  const { size } = fstat(fd);
  checkSize(path, size, limit);
  const bytes = addressable(size);
  return bytes.subarray(0, preadFull(fd, bytes, 0));
}

function checkSize(path: string, size: number, limit: number): void {
  if (size <= limit) return;
  throw new FormatError("ostree delta", `${path} has ${size} bytes, at most ${limit} expected`);
}

/** A directory that a delta is written to; until the superblock is there it is none. */
export class DeltaDirectory implements Disposable {
  readonly #path: string;
  #parts = 0;
  #finished = false;

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Makes the directory when it is not there.
   *
   * @throws {ErrnoError} when it cannot be made
   */
  static make(path: string): DeltaDirectory {
    mkdirAt(AT_FDCWD, path);
    const directory = new DeltaDirectory(path);
    // An older delta's superblock does not fit the parts that come.
    unlinkAt(AT_FDCWD, join(path, "superblock"));
    return directory;
  }

  /**
   * Writes a part.
   *
   * @throws {ErrnoError} when it cannot be written
   */
  part(bytes: Uint8Array, index: number): void {
    this.#parts = Math.max(this.#parts, index + 1);
    writeWhole(join(this.#path, String(index)), bytes);
  }

  /**
   * Writes the superblock: the delta is complete.
   *
   * @throws {ErrnoError} when it cannot be written
   */
  finish(superblock: Uint8Array): void {
    writeWhole(join(this.#path, "superblock"), superblock);
    this.#finished = true;
  }

  /** Removes the parts of a delta that was not finished. */
  [Symbol.dispose](): void {
    if (this.#finished) return;
    for (let i = 0; i < this.#parts; i++) unlinkAt(AT_FDCWD, join(this.#path, String(i)));
  }
}

/**
 * Writes a delta into a directory, which is made when it is not there; the superblock comes last.
 *
 * @throws {ErrnoError} when a file cannot be written
 */
export function writeLocalDelta(
  path: string,
  delta: { readonly superblock: Uint8Array; readonly files: readonly Uint8Array[] },
): void {
  using directory = DeltaDirectory.make(path);
  delta.files.forEach((bytes, index) => directory.part(bytes, index));
  directory.finish(delta.superblock);
}

function writeWhole(path: string, bytes: Uint8Array): void {
  using fd = openPath(path, { flags: O.WRONLY | O.CREAT | O.TRUNC });
  writeAll(fd, bytes, path);
}
