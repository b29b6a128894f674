/** The fs-verity ioctls (linux/fsverity.h; spec: repository 1.3). */
import {
  type Algorithm,
  ComposefsError,
  type ObjectId,
  objectIdFromBytes,
  UnsupportedError,
} from "../lib/base/mod.ts";
import { errno, ErrnoError, errnoNumber } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf } from "./memory.ts";

const FS_IOC_ENABLE_VERITY = 0x40806685;
const FS_IOC_MEASURE_VERITY = 0xc0046686;

/** `struct fsverity_enable_arg`, 128 bytes. */
const ENABLE_ARG = { version: 0, hashAlgorithm: 4, blockSize: 8, size: 128 } as const;
/** `struct fsverity_digest`: header, then the digest. */
const DIGEST = { algorithm: 0, size: 2, digest: 4, headerSize: 4 } as const;

const enableArg = addressable(ENABLE_ARG.size);
const digestArg = addressable(DIGEST.headerSize + 64);
const enableView = new DataView(enableArg.buffer);
const digestView = new DataView(digestArg.buffer);

/** Whether an errno of these ioctls says that the file system has no fs-verity. */
function isUnsupported(code: number): boolean {
  return code === errnoNumber("ENOTTY") || code === errnoNumber("EOPNOTSUPP");
}

/** What enabling fs-verity came to. `busy`: somebody has the file open for writing. */
export type EnableResult = "enabled" | "already" | "unsupported" | "busy";

/** Enables fs-verity on a file that is open read-only; nobody may hold it open for writing. */
export function enableVerity(fd: Fd | number, algorithm: Algorithm): EnableResult {
  enableArg.fill(0);
  enableView.setUint32(ENABLE_ARG.version, 1, true);
  enableView.setUint32(ENABLE_ARG.hashAlgorithm, algorithm.kernelId, true);
  enableView.setUint32(ENABLE_ARG.blockSize, 2 ** algorithm.lgBlockSize, true);
  const number = typeof fd === "number" ? fd : fd.number;
  for (;;) {
    if (libc().ioctl(number, FS_IOC_ENABLE_VERITY, addressOf(enableArg)) === 0) return "enabled";
    const code = errno();
    if (code === errnoNumber("EINTR")) continue;
    if (code === errnoNumber("EEXIST")) return "already";
    if (code === errnoNumber("ETXTBSY")) return "busy";
    if (isUnsupported(code)) return "unsupported";
    throw new ErrnoError("ioctl FS_IOC_ENABLE_VERITY", code);
  }
}

/**
 * The kernel's fs-verity digest of an open file.
 *
 * @returns the digest, `"missing"` when fs-verity is not enabled on the file, `"unsupported"` when
 * its file system has none
 * @throws {ComposefsError} when the file has a digest of another algorithm
 */
export function measureVerity(
  fd: Fd | number,
  algorithm: Algorithm,
): ObjectId | "missing" | "unsupported" {
  digestView.setUint16(DIGEST.algorithm, 0, true);
  digestView.setUint16(DIGEST.size, algorithm.size, true);
  const number = typeof fd === "number" ? fd : fd.number;
  if (libc().ioctl(number, FS_IOC_MEASURE_VERITY, addressOf(digestArg)) !== 0) {
    const code = errno();
    if (code === errnoNumber("ENODATA")) return "missing";
    if (isUnsupported(code)) return "unsupported";
    if (code === errnoNumber("EOVERFLOW")) {
      throw new ComposefsError("CFS_FORMAT", `Expected digest size ${algorithm.size}`);
    }
    throw new ErrnoError("ioctl FS_IOC_MEASURE_VERITY", code);
  }
  const found = digestView.getUint16(DIGEST.algorithm, true);
  if (found !== algorithm.kernelId) {
    throw new ComposefsError(
      "CFS_FORMAT",
      `Expected algorithm ${algorithm.kernelId}, found ${found}`,
    );
  }
  if (digestView.getUint16(DIGEST.size, true) !== algorithm.size) {
    throw new ComposefsError("CFS_FORMAT", `Expected digest size ${algorithm.size}`);
  }
  return objectIdFromBytes(digestArg, DIGEST.digest, DIGEST.digest + algorithm.size);
}

/** The error for a file system without fs-verity where it is required. */
export function verityUnsupported(): UnsupportedError {
  return new UnsupportedError("Filesystem does not support fs-verity");
}
