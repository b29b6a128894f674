/**
 * Composefs in TypeScript: repositories of objects named by their fs-verity digest, EROFS images
 * over them, and OCI images in them. This module holds the names that most programs need; each room
 * (`./erofs`, `./repository`, `./oci`, …) has the rest.
 *
 * @example A new repository, and an image in it
 * ```ts
 * import { ALGORITHMS, initRepository, parseDumpfile, Repository, writeImage } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const path = Deno.makeTempDirSync();
 * initRepository(path, { algorithm: ALGORITHMS.sha256, insecure: true });
 * using repository = Repository.open(path);
 * const text = "/ 0 40755 2 0 0 0 1.0 - - -\n/a 2 100644 1 0 0 0 1.0 - hi -\n";
 * const tree = parseDumpfile(new TextEncoder().encode(text));
 * const { id } = repository.objects.write(writeImage(tree, { hash: "sha256" }));
 * repository.linkImage(id);
 * assert.ok(repository.hasImage(id));
 * Deno.removeSync(path, { recursive: true });
 * ```
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
