/** Opening, linking, renaming and removing names. */
import { checkRepeated, ErrnoError, errnoNumber, isErrno, repeated } from "./errno.ts";
import { AT_FDCWD, type DirArg, dirNumber, Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf, cBytes, cPath, type PathArg } from "./memory.ts";
import { type ByteString, toByteString } from "../lib/base/mod.ts";

const ARM = Deno.build.arch === "aarch64";

/** Flags of open(2); O_DIRECTORY, O_NOFOLLOW and O_TMPFILE differ between architectures. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  NONBLOCK: 0o4000,
  DIRECTORY: ARM ? 0o40000 : 0o200000,
  NOFOLLOW: ARM ? 0o100000 : 0o400000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
  TMPFILE: 0o20000000 | (ARM ? 0o40000 : 0o200000),
} as const;

/** Flags of the *at calls (linux/fcntl.h). */
export const AT = {
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  EMPTY_PATH: 0x1000,
} as const;

/** Resolution limits of openat2(2) (linux/openat2.h). */
export const RESOLVE = { NO_XDEV: 1, NO_MAGICLINKS: 2, NO_SYMLINKS: 4, BENEATH: 8 } as const;

/** How to open a file. */
export interface OpenOptions {
  /** Flags from {@linkcode O}; close-on-exec is always added. @default O.RDONLY */
  flags?: number;
  /** Permission bits of a new file. @default 0o644 */
  mode?: number;
}

/** Opens a file relative to a directory. */
export function openAt(dir: DirArg, path: PathArg, options: OpenOptions = {}): Fd {
  return new Fd(openNumber(dir, path, options));
}

/** Opens a path relative to the working directory. */
export function openPath(path: PathArg, options: OpenOptions = {}): Fd {
  return new Fd(openNumber(AT_FDCWD, path, options));
}

/** Like {@linkcode openAt}, as a bare number for hot loops: the caller closes it. */
export function openNumber(dir: DirArg, path: PathArg, options: OpenOptions = {}): number {
  const number = tryOpenNumber(dir, path, options);
  return checkRepeated(number, "open", path);
}

/**
 * Opens a file, for hot loops.
 *
 * @returns the number, which the caller closes, or the negated error number
 */
export function tryOpenNumber(dir: DirArg, path: PathArg, options: OpenOptions): number {
  const symbols = libc();
  const flags = (options.flags ?? O.RDONLY) | O.CLOEXEC;
  const at = dirNumber(dir);
  for (;;) {
    const number = repeated(() => symbols.openat(at, cPath(path), flags, options.mode ?? 0o644));
    if (number !== -errnoNumber("EINTR")) return number;
  }
}

/**
 * Opens a file by a byte-string name, for hot loops.
 *
 * @returns the number, which the caller closes, or the negated error number
 */
export function openBytes(dir: number, name: ByteString, flags: number): number {
  const symbols = libc();
  for (;;) {
    const number = repeated(() => symbols.openat(dir, cBytes(name), flags | O.CLOEXEC, 0));
    if (number !== -errnoNumber("EINTR")) return number;
  }
}

/** Opens a file if it exists; `undefined` for ENOENT. */
export function openIfExists(
  dir: DirArg,
  path: PathArg,
  options: OpenOptions = {},
): Fd | undefined {
  const number = tryOpenNumber(dir, path, options);
  if (number === -errnoNumber("ENOENT")) return undefined;
  return new Fd(checkRepeated(number, "open", path));
}

/** Closes a bare number. */
export function closeNumber(number: number): void {
  libc().close(number);
}

/** Opens an unnamed temporary file in a directory (O_TMPFILE), readable and writable. */
export function openTmpfile(dir: DirArg, mode = 0o644): Fd {
  return openAt(dir, ".", { flags: O.TMPFILE | O.RDWR, mode });
}

/** Opens the same file again, read-only, by its descriptor. */
export function reopenReadOnly(fd: Fd): Fd {
  return openPath(fd.procPath, { flags: O.RDONLY });
}

const OPENAT2 = 437;
/** Offsets in `struct open_how` (linux/openat2.h). */
export const OPEN_HOW = { flags: [0, "u64"], mode: [8, "u64"], resolve: [16, "u64"] } as const;

/** Size of `struct open_how`. */
export const OPEN_HOW_SIZE = 24;
const openHow = addressable(OPEN_HOW_SIZE);
const openHowView = new DataView(openHow.buffer);

/**
 * Opens a path with limits on its resolution (openat2, Linux 5.6).
 *
 * @param options.resolve bits of {@linkcode RESOLVE}
 */
export function openAt2(
  dir: DirArg,
  path: PathArg,
  options: OpenOptions & { resolve: number },
): Fd {
  const flags = (options.flags ?? O.RDONLY) | O.CLOEXEC;
  openHowView.setBigUint64(OPEN_HOW.flags[0], BigInt(flags), true);
  // A mode without a creating flag is EINVAL.
  const creates = (flags & O.CREAT) !== 0 || (flags & O.TMPFILE) === O.TMPFILE;
  openHowView.setBigUint64(OPEN_HOW.mode[0], BigInt(creates ? options.mode ?? 0o644 : 0), true);
  openHowView.setBigUint64(OPEN_HOW.resolve[0], BigInt(options.resolve), true);
  const symbols = libc();
  const at = dirNumber(dir);
  const how = addressOf(openHow);
  const number = repeated(() =>
    symbols.syscall_fd(OPENAT2, at, cPath(path), how, OPEN_HOW_SIZE, 0, 0)
  );
  return new Fd(checkRepeated(number, "openat2", path));
}

let emptyPathLinks = true;

/**
 * Gives an open (unnamed) file a name; EEXIST when the name is taken.
 *
 * @returns false when the name exists already
 */
export function linkFd(fd: Fd | number, dir: DirArg, name: PathArg): boolean {
  const number = typeof fd === "number" ? fd : fd.number;
  const symbols = libc();
  const at = dirNumber(dir);
  if (emptyPathLinks) {
    // One lookup less than by /proc; needs CAP_DAC_READ_SEARCH, else the kernel says ENOENT.
    const result = repeated(() =>
      symbols.linkat(number, cPath(""), at, cPath(name, 1), AT.EMPTY_PATH)
    );
    if (result === 0) return true;
    if (result === -errnoNumber("EEXIST")) return false;
    if (result !== -errnoNumber("ENOENT")) throw new ErrnoError("linkat", -result, name);
  }
  const proc = `/proc/self/fd/${number}`;
  const result = repeated(() =>
    symbols.linkat(AT_FDCWD, cPath(proc), at, cPath(name, 1), AT.SYMLINK_FOLLOW)
  );
  if (result === 0) {
    emptyPathLinks = false;
    return true;
  }
  if (result === -errnoNumber("EEXIST")) return false;
  throw new ErrnoError("linkat", -result, name);
}

/** Makes a hard link. */
export function linkAt(from: DirArg, fromName: PathArg, to: DirArg, toName: PathArg): void {
  const result = repeated(() =>
    libc().linkat(dirNumber(from), cPath(fromName), dirNumber(to), cPath(toName, 1), 0)
  );
  checkRepeated(result, "linkat", toName);
}

/** Makes a symbolic link with text `target`. */
export function symlinkAt(target: PathArg, dir: DirArg, name: PathArg): void {
  const result = repeated(() => libc().symlinkat(cPath(target), dirNumber(dir), cPath(name, 1)));
  checkRepeated(result, "symlinkat", name);
}

const linkText = addressable(4096);

/**
 * The text of a symbolic link, both as byte strings.
 *
 * @throws {ErrnoError} also when there is no such link
 */
export function readlinkBytes(dir: number, name: ByteString): ByteString {
  const address = addressOf(linkText);
  const length = repeated(() => libc().readlinkat(dir, cBytes(name), address, linkText.length));
  checkRepeated(length, "readlinkat", name);
  return toByteString(linkText.subarray(0, length));
}

/** The text of a symbolic link as bytes; `undefined` for ENOENT. */
export function readlinkAt(dir: DirArg, name: PathArg): Uint8Array | undefined {
  const length = repeated(() =>
    libc().readlinkat(dirNumber(dir), cPath(name), addressOf(linkText), linkText.length)
  );
  if (length === -errnoNumber("ENOENT")) return undefined;
  checkRepeated(length, "readlinkat", name);
  return linkText.slice(0, length);
}

/** Renames, replacing what is there. */
export function renameAt(from: DirArg, fromName: PathArg, to: DirArg, toName: PathArg): void {
  const result = repeated(() =>
    libc().renameat(dirNumber(from), cPath(fromName), dirNumber(to), cPath(toName, 1))
  );
  checkRepeated(result, "renameat", toName);
}

const RENAMEAT2 = ARM ? 276 : 316;
const RENAME_NOREPLACE = 1;

/** Renames without replacing; false when the new name exists already (renameat2). */
export function renameNoReplace(
  from: DirArg,
  fromName: PathArg,
  to: DirArg,
  toName: PathArg,
): boolean {
  const result = repeated(() =>
    libc().syscall_fd_fd(
      RENAMEAT2,
      dirNumber(from),
      cPath(fromName),
      dirNumber(to),
      cPath(toName, 1),
      RENAME_NOREPLACE,
      0,
    )
  );
  if (result === -errnoNumber("EEXIST")) return false;
  checkRepeated(result, "renameat2", toName);
  return true;
}

/** Makes a directory; false when something of that name exists already. */
export function mkdirAt(dir: DirArg, name: PathArg, mode = 0o755): boolean {
  const result = repeated(() => libc().mkdirat(dirNumber(dir), cPath(name), mode));
  if (result === -errnoNumber("EEXIST")) return false;
  checkRepeated(result, "mkdirat", name);
  return true;
}

/** Removes a name; false when it was not there. */
export function unlinkAt(
  dir: DirArg,
  name: PathArg,
  options: { directory?: boolean } = {},
): boolean {
  const flags = options.directory ? AT.REMOVEDIR : 0;
  const result = repeated(() => libc().unlinkat(dirNumber(dir), cPath(name), flags));
  if (result === -errnoNumber("ENOENT")) return false;
  checkRepeated(result, "unlinkat", name);
  return true;
}

/** Opens a directory for *at calls. */
export function openDir(dir: DirArg, path: PathArg): Fd {
  return openAt(dir, path, { flags: O.RDONLY | O.DIRECTORY });
}

/** Opens a directory, making it (not its parents) when it is missing. */
export function openOrMakeDir(dir: DirArg, path: PathArg, mode = 0o755): Fd {
  try {
    return openDir(dir, path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    mkdirAt(dir, path, mode);
    return openDir(dir, path);
  }
}
