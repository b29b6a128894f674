/**
 * Extended attributes. Lists and values have at most 64 KiB, the kernel's own limit
 * (XATTR_LIST_MAX and XATTR_SIZE_MAX in linux/limits.h).
 */
import { type ByteString, toByteString } from "../lib/base/mod.ts";
import { check, errno, ErrnoError, errnoNumber } from "./errno.ts";
import { type Fd, fdNumber } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf, cBytes, cPath, type PathArg } from "./memory.ts";

const LIMIT = 65536;
const names = addressable(LIMIT);
const value = addressable(LIMIT);

const ENODATA = errnoNumber("ENODATA");
const EOPNOTSUPP = errnoNumber("EOPNOTSUPP");
const EBADF = errnoNumber("EBADF");

/** How the three kinds of targets are listed and read; scratch slots 0 and 1 hold path and name. */
interface Access {
  list(): number;
  get(name: number): number;
}

/**
 * All extended attributes behind one target: `[name, value, name, value, …]`, `undefined` when
 * there are none or the file system has none at all.
 */
function readAll(access: Access, path: PathArg | undefined): ByteString[] | undefined {
  const length = access.list();
  if (length === 0) return undefined;
  if (length < 0) {
    const code = errno();
    if (code === EOPNOTSUPP) return undefined;
    throw new ErrnoError("listxattr", code, path);
  }
  const out: ByteString[] = [];
  const base = addressOf(names);
  for (let start = 0; start < length;) {
    let end = names.indexOf(0, start);
    if (end < 0 || end > length) end = length;
    const got = access.get(base + start);
    if (got >= 0) {
      out.push(toByteString(names.subarray(start, end)), toByteString(value.subarray(0, got)));
    } else {
      const code = errno();
      // Removed since it was listed, or listed by a file system that has no value for it.
      if (code !== ENODATA) throw new ErrnoError("getxattr", code, path);
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
  const length = symbols.flistxattr(number, addressOf(names), LIMIT);
  if (length === 0) return undefined;
  if (length < 0 && errno() === EBADF) {
    const path = cPath(`/proc/self/fd/${number}`);
    return readAll({
      list: () => symbols.listxattr(path, addressOf(names), LIMIT),
      get: (name) => symbols.getxattr(path, name, addressOf(value), LIMIT),
    }, `/proc/self/fd/${number}`);
  }
  return readAll({
    list: () => length,
    get: (name) => symbols.fgetxattr(number, name, addressOf(value), LIMIT),
  }, undefined);
}

/**
 * Extended attributes of a name in an open directory, of a symbolic link itself when it is one.
 *
 * @returns `[name, value, …]`, or `undefined` when there are none
 * @throws {ErrnoError} when they cannot be read
 */
export function nameXattrs(dir: Fd | number, name: ByteString): ByteString[] | undefined {
  const symbols = libc();
  const path = cBytes(`/proc/self/fd/${fdNumber(dir)}/${name}`);
  return readAll({
    list: () => symbols.llistxattr(path, addressOf(names), LIMIT),
    get: (attribute) => symbols.lgetxattr(path, attribute, addressOf(value), LIMIT),
  }, name);
}

/** The value of one extended attribute of an open file; `undefined` when it has none. */
export function getXattr(fd: Fd | number, name: ByteString): ByteString | undefined {
  const symbols = libc();
  const number = fdNumber(fd);
  const key = cBytes(name, 1);
  let length = symbols.fgetxattr(number, key, addressOf(value), LIMIT);
  if (length < 0 && errno() === EBADF) {
    const path = cPath(`/proc/self/fd/${number}`);
    length = symbols.getxattr(path, key, addressOf(value), LIMIT);
  }
  if (length >= 0) return toByteString(value.subarray(0, length));
  const code = errno();
  if (code === ENODATA || code === EOPNOTSUPP) return undefined;
  throw new ErrnoError("getxattr", code, name);
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
