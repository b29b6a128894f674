/**
 * Extended attributes. Lists and values have at most 64 KiB, the kernel's own limit
 * (XATTR_LIST_MAX and XATTR_SIZE_MAX in linux/limits.h).
 */
import { type ByteString, toByteString } from "../lib/base/mod.ts";
import { check, checkRepeated, ErrnoError, errnoNumber, repeated } from "./errno.ts";
import { type Fd, fdNumber } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf, cBytes, cPath, type PathArg } from "./memory.ts";

const LIMIT = 65536;
const names = addressable(LIMIT);
const value = addressable(LIMIT);

const ENODATA = errnoNumber("ENODATA");
const EOPNOTSUPP = errnoNumber("EOPNOTSUPP");
const EBADF = errnoNumber("EBADF");

/**
 * All extended attributes behind one target: `[name, value, name, value, …]`, `undefined` when
 * there are none or the file system has none at all.
 *
 * @param listed what listing the names into the scratch buffer came to, and errno of that
 * @param get reads the value of the name at an address
 */
function readAll(
  length: number,
  get: (name: number) => number,
  path: PathArg | undefined,
): ByteString[] | undefined {
  if (length === 0 || length === -EOPNOTSUPP) return undefined;
  checkRepeated(length, "listxattr", path);
  const out: ByteString[] = [];
  const base = addressOf(names);
  for (let start = 0; start < length;) {
    let end = names.indexOf(0, start);
    if (end < 0 || end > length) end = length;
    const at = base + start;
    const got = repeated(() => get(at));
    if (got >= 0) {
      out.push(toByteString(names.subarray(start, end)), toByteString(value.subarray(0, got)));
    } else {
      // Removed since it was listed, or listed by a file system that has no value for it.
      if (got !== -ENODATA) throw new ErrnoError("getxattr", -got, path);
    }
    start = end + 1;
  }
  return out.length === 0 ? undefined : out;
}

/**
 * Extended attributes of an open file. A descriptor opened with O_PATH works too, also one of a
 * symbolic link: those are read through `/proc/self/fd`.
 *
 * @returns `[name, value, …]`, or `undefined` when there are none
 * @throws {ErrnoError} when they cannot be read
 */
export function fdXattrs(fd: Fd | number): ByteString[] | undefined {
  const symbols = libc();
  const number = fdNumber(fd);
  const length = repeated(() => symbols.flistxattr(number, addressOf(names), LIMIT));
  if (length === 0) return undefined;
  if (length === -EBADF) {
    const path = `/proc/self/fd/${number}`;
    return pathXattrs(cPath(path), path, { follow: true });
  }
  const get = (name: number) => symbols.fgetxattr(number, name, addressOf(value), LIMIT);
  return readAll(length, get, undefined);
}

/**
 * Extended attributes of a name in an open directory, of a symbolic link itself when it is one.
 *
 * @returns `[name, value, …]`, or `undefined` when there are none
 * @throws {ErrnoError} when they cannot be read
 */
export function nameXattrs(dir: Fd | number, name: ByteString): ByteString[] | undefined {
  const path = cBytes(`/proc/self/fd/${fdNumber(dir)}/${name}`);
  return pathXattrs(path, name, { follow: false });
}

/** Extended attributes of the path at an address; `shown` is for errors. */
function pathXattrs(
  path: number,
  shown: string,
  options: { follow: boolean },
): ByteString[] | undefined {
  const symbols = libc();
  const list = options.follow ? symbols.listxattr : symbols.llistxattr;
  const read = options.follow ? symbols.getxattr : symbols.lgetxattr;
  const length = repeated(() => list(path, addressOf(names), LIMIT));
  const get = (name: number) => read(path, name, addressOf(value), LIMIT);
  return readAll(length, get, shown);
}

/** The value of one extended attribute of an open file; `undefined` when it has none. */
export function getXattr(fd: Fd | number, name: ByteString): ByteString | undefined {
  const symbols = libc();
  const number = fdNumber(fd);
  const key = cBytes(name, 1);
  let length = repeated(() => symbols.fgetxattr(number, key, addressOf(value), LIMIT));
  if (length === -EBADF) {
    const path = cPath(`/proc/self/fd/${number}`);
    length = repeated(() => symbols.getxattr(path, key, addressOf(value), LIMIT));
  }
  if (length === -ENODATA || length === -EOPNOTSUPP) return undefined;
  checkRepeated(length, "getxattr", name);
  return toByteString(value.subarray(0, length));
}

/**
 * Sets an extended attribute of a path, not following a symbolic link.
 *
 * @throws {ErrnoError} when it cannot be set
 */
export function setXattr(path: PathArg, name: ByteString, content: ByteString): void {
  if (content.length > LIMIT) throw new ErrnoError("lsetxattr", errnoNumber("E2BIG"), path);
  for (let i = 0; i < content.length; i++) value[i] = content.charCodeAt(i);
  const result = libc().lsetxattr(
    cPath(path),
    cBytes(name, 1),
    addressOf(value),
    content.length,
    0,
  );
  check(result, "lsetxattr", path);
}
