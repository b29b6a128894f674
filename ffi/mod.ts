/**
 * The kernel, through libc. Unstable: what is here follows the needs of the rooms above.
 *
 * @module
 */
export * from "./crypto.ts";
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
