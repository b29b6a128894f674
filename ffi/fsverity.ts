/** The fs-verity ioctls (linux/fsverity.h; spec: repository 1.3). */
import {
  type Algorithm,
  ComposefsError,
  type ObjectId,
  objectIdFromBytes,
  UnsupportedError,
} from "../lib/base/mod.ts";
import { ErrnoError, errnoNumber, repeated } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf } from "./memory.ts";

/** ioctl numbers (linux/fsverity.h). */
export const VERITY_IOCTL = { ENABLE_VERITY: 0x40806685, MEASURE_VERITY: 0xc0046686 } as const;

/** Offsets in `struct fsverity_enable_arg`. */
export const VERITY_ENABLE_ARG = {
  version: [0, "u32"],
  hashAlgorithm: [4, "u32"],
  blockSize: [8, "u32"],
} as const;

/** Size of `struct fsverity_enable_arg`. */
export const VERITY_ENABLE_ARG_SIZE = 128;

/** Offsets in `struct fsverity_digest`; the digest follows the header. */
export const VERITY_DIGEST = {
  algorithm: [0, "u16"],
  size: [2, "u16"],
  digest: [4, "bytes"],
} as const;

const enableArg = addressable(VERITY_ENABLE_ARG_SIZE);
const digestArg = addressable(VERITY_DIGEST.digest[0] + 64);
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
  enableView.setUint32(VERITY_ENABLE_ARG.version[0], 1, true);
  enableView.setUint32(VERITY_ENABLE_ARG.hashAlgorithm[0], algorithm.kernelId, true);
  enableView.setUint32(VERITY_ENABLE_ARG.blockSize[0], 2 ** algorithm.lgBlockSize, true);
  const number = typeof fd === "number" ? fd : fd.number;
  for (;;) {
    const result = repeated(() =>
      libc().ioctl(number, VERITY_IOCTL.ENABLE_VERITY, addressOf(enableArg))
    );
    if (result === 0) return "enabled";
    const code = -result;
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
  digestView.setUint16(VERITY_DIGEST.algorithm[0], 0, true);
  digestView.setUint16(VERITY_DIGEST.size[0], algorithm.size, true);
  const number = typeof fd === "number" ? fd : fd.number;
  const result = repeated(() =>
    libc().ioctl(number, VERITY_IOCTL.MEASURE_VERITY, addressOf(digestArg))
  );
  if (result !== 0) {
    const code = -result;
    if (code === errnoNumber("ENODATA")) return "missing";
    if (isUnsupported(code)) return "unsupported";
    if (code === errnoNumber("EOVERFLOW")) {
      throw new ComposefsError("CFS_FORMAT", `Expected digest size ${algorithm.size}`);
    }
    throw new ErrnoError("ioctl FS_IOC_MEASURE_VERITY", code);
  }
  const found = digestView.getUint16(VERITY_DIGEST.algorithm[0], true);
  if (found !== algorithm.kernelId) {
    throw new ComposefsError(
      "CFS_FORMAT",
      `Expected algorithm ${algorithm.kernelId}, found ${found}`,
    );
  }
  if (digestView.getUint16(VERITY_DIGEST.size[0], true) !== algorithm.size) {
    throw new ComposefsError("CFS_FORMAT", `Expected digest size ${algorithm.size}`);
  }
  return objectIdFromBytes(
    digestArg,
    VERITY_DIGEST.digest[0],
    VERITY_DIGEST.digest[0] + algorithm.size,
  );
}

/** The error for a file system without fs-verity where it is required. */
export function verityUnsupported(): UnsupportedError {
  return new UnsupportedError("Filesystem does not support fs-verity", {
    detail: "file-system-without-verity",
  });
}
