/**
 * fs-verity digests in pure code: the names of all objects. The ioctls are in `ffi/`.
 *
 * @example Digest of a buffer
 * ```ts
 * import { ALGORITHMS, nodeHash, toHex } from "../base/mod.ts";
 * import { fsVerityDigest } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const digest = fsVerityDigest(new TextEncoder().encode("hello world"), {
 *   algorithm: ALGORITHMS.sha256,
 *   provider: nodeHash,
 * });
 * assert.equal(toHex(digest).slice(0, 16), "1e2eaa4202d750a4");
 * ```
 *
 * @module
 */
import type { Algorithm, HashProvider, ObjectId } from "../base/mod.ts";
import { objectIdFromBytes } from "../base/mod.ts";
import { FsVerityHasher, type LgBlockSize } from "./merkle.ts";

export { DESCRIPTOR, DESCRIPTOR_SIZE } from "./descriptor.ts";
export { FsVerityHasher, type LgBlockSize } from "./merkle.ts";

/** How to compute a digest. */
export interface FsVerityOptions {
  /** Hash function and its kernel number. */
  algorithm: Algorithm;
  /** Where the hash function comes from. */
  provider: HashProvider;
  /** log2 of the block size. @default 12 */
  lgBlockSize?: LgBlockSize;
}

/** The fs-verity digest of a whole buffer, as raw bytes. */
export function fsVerityDigest(
  bytes: Uint8Array,
  options: FsVerityOptions,
): Uint8Array<ArrayBuffer> {
  const hasher = new FsVerityHasher(options.algorithm, options.provider, {
    lgBlockSize: options.lgBlockSize ?? 12,
  });
  // Views of 64 bytes or less may live in V8's moving heap, where no address can be taken.
  hasher.update(bytes.buffer.byteLength > 64 ? bytes : carve(bytes));
  return hasher.digest();
}

/** The object id of a whole buffer. */
export function objectIdOf(bytes: Uint8Array, options: FsVerityOptions): ObjectId {
  return objectIdFromBytes(fsVerityDigest(bytes, options));
}

function carve(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(4096).subarray(0, bytes.length);
  copy.set(bytes);
  return copy;
}
