/** Reading, writing, copying and syncing file contents. */
import { check, checkRepeated, errno, ErrnoError, errnoNumber, repeated } from "./errno.ts";
import { type Fd, fdNumber } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressOf, type PathArg } from "./memory.ts";

/** Most bytes one call moves; keeps results inside 31 bits. */
const MAX_CALL = 0x40000000;

const EINTR = errnoNumber("EINTR");

/**
 * Passes when a failed call should simply be made again; errno is read once, before anything else.
 *
 * @throws {ErrnoError} for every other reason
 */
function checkInterrupted(syscall: string, path?: PathArg): void {
  const code = errno();
  if (code !== EINTR) throw new ErrnoError(syscall, code, path);
}

/** Reads up to `buffer.length` bytes at `offset`; 0 at the end of the file. */
export function pread(fd: Fd | number, buffer: Uint8Array, offset: number): number {
  const symbols = libc();
  const number = fdNumber(fd);
  for (;;) {
    const count = Math.min(buffer.length, MAX_CALL);
    const result = symbols.pread(number, addressOf(buffer), count, offset);
    if (result >= 0) return result;
    checkInterrupted("pread");
  }
}

/** Reads up to `length` bytes at `offset` to an address that the caller keeps valid. */
export function preadAddress(
  fd: number,
  target: { address: number; length: number; offset: number },
): number {
  const symbols = libc();
  const count = Math.min(target.length, MAX_CALL);
  for (;;) {
    const result = symbols.pread(fd, target.address, count, target.offset);
    if (result >= 0) return result;
    checkInterrupted("pread");
  }
}

/** Reads until `buffer` is full or the file ends; returns the byte count. */
export function preadFull(fd: Fd | number, buffer: Uint8Array, offset: number): number {
  let done = 0;
  while (done < buffer.length) {
    const got = pread(fd, done === 0 ? buffer : buffer.subarray(done), offset + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}

/** Reads up to `buffer.length` bytes at the file position; 0 at the end. */
export function read(fd: Fd | number, buffer: Uint8Array): number {
  const symbols = libc();
  const number = fdNumber(fd);
  for (;;) {
    const result = symbols.read(number, addressOf(buffer), Math.min(buffer.length, MAX_CALL));
    if (result >= 0) return result;
    checkInterrupted("read");
  }
}

/** Writes all of `bytes` at the file position. `path` is only for errors. */
export function writeAll(fd: Fd | number, bytes: Uint8Array, path?: PathArg): void {
  writeAddress(fd, addressOf(bytes), bytes.length, path);
}

/** Writes `length` bytes from an address that the caller keeps valid. */
export function writeAddress(
  fd: Fd | number,
  address: number,
  length: number,
  path?: PathArg,
): void {
  const symbols = libc();
  const number = fdNumber(fd);
  let done = 0;
  while (done < length) {
    const result = symbols.write(number, address + done, Math.min(length - done, MAX_CALL));
    if (result < 0) {
      checkInterrupted("write", path);
      continue;
    }
    done += result;
  }
}

/** Writes all of `bytes` at `offset`. */
export function pwriteAll(fd: Fd | number, bytes: Uint8Array, offset: number): void {
  const symbols = libc();
  const number = fdNumber(fd);
  let done = 0;
  while (done < bytes.length) {
    const count = Math.min(bytes.length - done, MAX_CALL);
    const result = symbols.pwrite(number, addressOf(bytes) + done, count, offset + done);
    if (result < 0) {
      checkInterrupted("pwrite");
      continue;
    }
    done += result;
  }
}

const COPY_FILE_RANGE = Deno.build.arch === "aarch64" ? 285 : 326;

/**
 * Copies up to `length` bytes between the files' positions inside the kernel (may share blocks).
 *
 * @returns bytes copied; 0 at the end of the source, -1 when the kernel cannot do it for these files
 */
export function copyFileRange(from: Fd, to: Fd, length: number): number {
  const symbols = libc();
  const count = Math.min(length, MAX_CALL);
  for (;;) {
    const result = symbols.syscall(COPY_FILE_RANGE, from.number, 0, to.number, 0, count, 0);
    if (result >= 0) return result;
    const code = errno();
    if (code === errnoNumber("EINTR")) continue;
    if ([18, 22, 38, 95].includes(code)) return -1; // EXDEV, EINVAL, ENOSYS, EOPNOTSUPP
    throw new ErrnoError("copy_file_range", code);
  }
}

/** ioctl that shares all blocks of a file (linux/fs.h). */
export const FICLONE = 0x40049409;

/**
 * Makes `to` share all blocks of `from` (FICLONE).
 *
 * @returns false when the file systems cannot do it (EOPNOTSUPP, EXDEV, ENOTTY, EINVAL)
 */
export function reflink(from: Fd | number, to: Fd): boolean {
  const result = repeated(() => libc().ioctl(to.number, FICLONE, fdNumber(from)));
  if ([95, 18, 25, 22].includes(-result)) return false;
  checkRepeated(result, "ioctl FICLONE");
  return true;
}

/** Sets the size of a file. */
export function ftruncate(fd: Fd, size: number): void {
  check(libc().ftruncate(fd.number, size), "ftruncate");
}

/** Reserves space for a file; false where the file system cannot. */
export function fallocate(fd: Fd, size: number): boolean {
  const result = repeated(() => libc().fallocate(fd.number, 0, 0, size));
  if (result === -errnoNumber("EOPNOTSUPP") || result === -errnoNumber("ENOSYS")) return false;
  checkRepeated(result, "fallocate");
  return true;
}

/** Makes one file durable. */
export function fsync(fd: Fd): void {
  check(libc().fsync(fd.number), "fsync");
}

/** Makes everything on the file system of `fd` durable. */
export function syncfs(fd: Fd): void {
  check(libc().syncfs(fd.number), "syncfs");
}
