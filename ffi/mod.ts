/**
 * The kernel, through libc. Unstable: what is here follows the needs of the rooms above.
 *
 * @example A file without a name, and the error of a call that fails
 * ```ts
 * import { AT_FDCWD, isErrno, openPath, openTmpfile, preadFull, writeAll } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * using file = openTmpfile(AT_FDCWD);
 * const bytes = new Uint8Array(4096); // carved from more than 64 bytes: V8 moves small ones
 * writeAll(file, bytes.subarray(0, 7).fill(1));
 * assert.equal(preadFull(file, bytes, 0), 7);
 * assert.throws(() => openPath("/nonexistent"), (error) => isErrno(error, "ENOENT"));
 * ```
 *
 * @module
 */
export * from "./crypto.ts";
export * from "./deflate.ts";
export * from "./dir.ts";
export * from "./errno.ts";
export * from "./fd.ts";
export * from "./fsverity.ts";
export * from "./io.ts";
export * from "./lock.ts";
export * from "./lzma.ts";
export * from "./memory.ts";
export * from "./open.ts";
export * from "./stat.ts";
export * from "./loop.ts";
export * from "./make.ts";
export * from "./memfd.ts";
export * from "./mount.ts";
export * from "./namespace.ts";
export * from "./process.ts";
export * from "./xattr.ts";
