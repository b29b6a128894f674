import { type Algorithm, type ObjectId, objectIdFromBytes } from "../lib/base/mod.ts";
import { type ErofsVersion, writeImage } from "../lib/erofs/mod.ts";
import { FsVerityHasher } from "../lib/fsverity/mod.ts";
import type { FileTree } from "../lib/tree/mod.ts";
import { systemHash } from "../ffi/mod.ts";

/**
 * The fs-verity digest of bytes.
 *
 * @param bytes Carved from a buffer of more than 64 bytes.
 * @param algorithm Which digest.
 */
export function digestOf(bytes: Uint8Array, algorithm: Algorithm): ObjectId {
  const hasher = new FsVerityHasher(algorithm, systemHash());
  hasher.update(bytes);
  return objectIdFromBytes(hasher.digest());
}

/**
 * The id that the image of a tree would have.
 *
 * @param tree The tree.
 * @param options Format version of the image and algorithm of the objects.
 */
export function imageId(
  tree: FileTree,
  options: { version: ErofsVersion; algorithm: Algorithm },
): ObjectId {
  const { version, algorithm } = options;
  return digestOf(writeImage(tree, { version, hash: algorithm.hash }), algorithm);
}
