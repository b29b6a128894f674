/**
 * Composefs in TypeScript: repositories of objects named by their fs-verity digest, EROFS images
 * over them, and OCI images in them. This module holds the names that most programs need; each room
 * (`./erofs`, `./repository`, `./oci`, …) has the rest.
 *
 * @module
 */
export {
  ALGORITHMS,
  ComposefsError,
  Digest,
  DigestMismatchError,
  type ErrorCode,
  FormatError,
  NotFoundError,
  type ObjectId,
  PolicyError,
  type ProgressEvent,
  UnsupportedError,
} from "./lib/base/mod.ts";
export { formatDumpfile, parseDumpfile } from "./lib/dumpfile/mod.ts";
export { openImage, readTree, writeImage } from "./lib/erofs/mod.ts";
export { fsVerityDigest } from "./lib/fsverity/mod.ts";
export { openImageRef, pullImage, type PullResult } from "./lib/oci/mod.ts";
export { initRepository, Repository } from "./lib/repository/mod.ts";
export { Directory, type FileTree, Leaf } from "./lib/tree/mod.ts";
