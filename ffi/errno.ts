import { ComposefsError, registerErrorKind } from "../lib/base/mod.ts";
import { rawErrno } from "./libc.ts";
import { type PathArg, showPath } from "./memory.ts";

/** Error numbers of Linux (asm-generic/errno-base.h, errno.h) that composefs meets, with strerror texts. */
export const ERRNO_TABLE = {
  EPERM: [1, "Operation not permitted"],
  ENOENT: [2, "No such file or directory"],
  ESRCH: [3, "No such process"],
  EINTR: [4, "Interrupted system call"],
  EIO: [5, "Input/output error"],
  ENXIO: [6, "No such device or address"],
  E2BIG: [7, "Argument list too long"],
  EBADF: [9, "Bad file descriptor"],
  ECHILD: [10, "No child processes"],
  EAGAIN: [11, "Resource temporarily unavailable"],
  ENOMEM: [12, "Cannot allocate memory"],
  EACCES: [13, "Permission denied"],
  EFAULT: [14, "Bad address"],
  ENOTBLK: [15, "Block device required"],
  EBUSY: [16, "Device or resource busy"],
  EEXIST: [17, "File exists"],
  EXDEV: [18, "Invalid cross-device link"],
  ENODEV: [19, "No such device"],
  ENOTDIR: [20, "Not a directory"],
  EISDIR: [21, "Is a directory"],
  EINVAL: [22, "Invalid argument"],
  ENFILE: [23, "Too many open files in system"],
  EMFILE: [24, "Too many open files"],
  ENOTTY: [25, "Inappropriate ioctl for device"],
  ETXTBSY: [26, "Text file busy"],
  EFBIG: [27, "File too large"],
  ENOSPC: [28, "No space left on device"],
  ESPIPE: [29, "Illegal seek"],
  EROFS: [30, "Read-only file system"],
  EMLINK: [31, "Too many links"],
  EPIPE: [32, "Broken pipe"],
  ERANGE: [34, "Numerical result out of range"],
  ENAMETOOLONG: [36, "File name too long"],
  ENOSYS: [38, "Function not implemented"],
  ENOTEMPTY: [39, "Directory not empty"],
  ELOOP: [40, "Too many levels of symbolic links"],
  ENODATA: [61, "No data available"],
  EOVERFLOW: [75, "Value too large for defined data type"],
  EOPNOTSUPP: [95, "Operation not supported"],
  EUCLEAN: [117, "Structure needs cleaning"],
  EDQUOT: [122, "Disk quota exceeded"],
  EKEYREJECTED: [129, "Key was rejected by service"],
} as const;

/** Name of an error number. */
export type ErrnoName = keyof typeof ERRNO_TABLE;

const BY_NUMBER = new Map<number, readonly [ErrnoName, string]>(
  Object.entries(ERRNO_TABLE).map(([name, [number, text]]) => [number, [name as ErrnoName, text]]),
);

/** The number of a named error. */
export function errnoNumber(name: ErrnoName): number {
  return ERRNO_TABLE[name][0];
}

/** The text of an error number as the C library and the reference print it. */
export function errnoText(errno: number): string {
  return `${BY_NUMBER.get(errno)?.[1] ?? "Unknown error"} (os error ${errno})`;
}

/** A system call that failed. */
export class ErrnoError extends ComposefsError {
  /** The call, for example `openat`. */
  readonly syscall: string;
  /** The error number. */
  readonly errno: number;
  /** Its name, for example `ENOENT`, or `E<number>` when unknown. */
  readonly errnoName: string;
  /** The path the call was about, when there was one. */
  readonly path: string | undefined;

  /** Creates the error; the message is `<syscall> <path>: <text> (os error N)`. */
  constructor(syscall: string, errno: number, path?: PathArg) {
    const shown = path === undefined ? undefined : showPath(path);
    super(
      "CFS_ERRNO",
      `${syscall}${shown === undefined ? "" : ` ${shown}`}: ${errnoText(errno)}`,
    );
    this.syscall = syscall;
    this.errno = errno;
    this.errnoName = BY_NUMBER.get(errno)?.[0] ?? `E${errno}`;
    this.path = shown;
  }

  /** Whether this is one of the named errors. */
  is(...names: ErrnoName[]): boolean {
    return names.some((name) => ERRNO_TABLE[name][0] === this.errno);
  }

  /** The facts of the error as plain data. */
  override toJSON(): Record<string, unknown> {
    return {
      ...super.toJSON(),
      syscall: this.syscall,
      errno: this.errnoName,
      path: this.path,
    };
  }
}

registerErrorKind(ErrnoError);

/** Whether `error` is an {@linkcode ErrnoError} with one of the named numbers. */
export function isErrno(error: unknown, ...names: ErrnoName[]): error is ErrnoError {
  return error instanceof ErrnoError && error.is(...names);
}

/** errno of the calling thread; valid only straight after a synchronous call that failed. */
export function errno(): number {
  return rawErrno();
}

/** How often a call is repeated whose errno cannot be its own. */
const MAX_TRIES = 4;

/**
 * Makes a call that never fails with EAGAIN of itself, again where errno says so: the runtime waits
 * for its other threads now and then, and where that happens between a call and the look at errno,
 * it leaves its own behind, or none. A call that failed has done nothing, so it may be repeated. For
 * the same reason errno is looked at once only.
 *
 * @returns its result, or the negated error number
 */
export function repeated(call: () => number): number {
  for (let tries = 1;; tries++) {
    const result = call();
    if (result >= 0) return result;
    const code = errno();
    if (code !== 0 && code !== ERRNO_TABLE.EAGAIN[0]) return -code;
    // Without a number it would be -0, which looks like success.
    if (tries === MAX_TRIES) return -(code || ERRNO_TABLE.EIO[0]);
  }
}

/**
 * Passes a non-negative result of {@linkcode repeated} on.
 *
 * @throws {ErrnoError} when `result` is a negated error number
 */
export function checkRepeated(result: number, syscall: string, path?: PathArg): number {
  if (result < 0) throw new ErrnoError(syscall, -result, path);
  return result;
}

/**
 * Passes a non-negative result of a call on.
 *
 * @throws {ErrnoError} when `result` is negative, with the errno of the call that just returned
 */
export function check(result: number, syscall: string, path?: PathArg): number {
  if (result < 0) throw new ErrnoError(syscall, errno(), path);
  return result;
}
