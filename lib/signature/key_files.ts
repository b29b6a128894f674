/** Reading the files and directories that hold keys (spec: ostree 9.2, trust 2). */
import { FormatError, fromByteString } from "../base/mod.ts";
import {
  AT_FDCWD,
  type DirArg,
  type Fd,
  fstat,
  isErrno,
  O,
  openAt,
  openDir,
  preadFull,
  readDir,
} from "../../ffi/mod.ts";

/** Largest file with keys or remotes, in bytes. */
const MAX_FILE = 4 * 1024 * 1024;

const decoder = new TextDecoder();

/** Most files of one directory. */
const MAX_FILES = 1024;

/**
 * Content of a regular file; `undefined` when there is none of that name.
 *
 * @throws {FormatError} when it is no regular file, or larger than 4 MiB
 * @throws {ErrnoError} when it cannot be read
 */
export function readKeyFile(path: string, dir: DirArg = AT_FDCWD): Uint8Array | undefined {
  let fd: Fd;
  try {
    fd = openAt(dir, path, { flags: O.RDONLY | O.NONBLOCK });
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
  using file = fd;
  const { isFile, size } = fstat(file);
  if (!isFile) throw new FormatError("key file", `${path} is no regular file`);
  if (size > MAX_FILE) {
    throw new FormatError("key file", `${path} is larger than ${MAX_FILE} bytes`);
  }
  // One byte more than it has, so that one that grows meanwhile does not come out cut off.
  const bytes = new Uint8Array(Math.max(size + 1, 128));
  return bytes.subarray(0, preadFull(file, bytes, 0));
}

/**
 * Names in a directory, sorted; `undefined` when it is none.
 *
 * @throws {FormatError} when there are more than 1024
 */
export function listKeyDirectory(path: string): string[] | undefined {
  let fd: Fd;
  try {
    fd = openDir(AT_FDCWD, path);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
  using dir = fd;
  const names = readDir(dir).map(({ name }) => decoder.decode(fromByteString(name)));
  if (names.length > MAX_FILES) {
    throw new FormatError("key file", `More than ${MAX_FILES} files in ${path}`);
  }
  return names.sort();
}
