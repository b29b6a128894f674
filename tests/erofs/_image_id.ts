/** Image ids, as the golden files have them. */
import { ALGORITHMS, type HashName, nodeHash } from "../../lib/base/mod.ts";
import { type DumpfileDialect, parseDumpfile } from "../../lib/dumpfile/mod.ts";
import { type ErofsVersion, writeImage } from "../../lib/erofs/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import type { FileTree } from "../../lib/tree/mod.ts";

/** How an image is made. */
export interface ImageIdOptions {
  /** Format version. */
  version: ErofsVersion;
  /** Algorithm. @default "sha256" */
  hash?: HashName;
  /** Whose rules. @default "rs" */
  dialect?: DumpfileDialect;
}

/** The fs-verity digest of an image in hex. */
export function digestOf(image: Uint8Array, hash: HashName = "sha256"): string {
  return objectIdOf(image, { algorithm: ALGORITHMS[hash], provider: nodeHash });
}

/** The id of a tree's image. */
export function imageId(tree: FileTree, options: ImageIdOptions): string {
  const { version, hash = "sha256", dialect = "rs" } = options;
  return digestOf(writeImage(tree, { version, hash, dialect }), hash);
}

/** The id of a dumpfile's image. */
export function dumpfileImageId(dumpfile: Uint8Array, options: ImageIdOptions): string {
  const { hash = "sha256", dialect = "rs" } = options;
  return imageId(parseDumpfile(dumpfile, { hash, dialect }), options);
}
