/**
 * Composefs EROFS images: writing them from a file tree and reading them back.
 *
 * @example Write an image and read it back
 * ```ts
 * import { parseDumpfile } from "../dumpfile/mod.ts";
 * import { openImage, readTree, writeImage } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const text = "/ 0 40755 2 0 0 0 1.0 - - -\n/a 2 100644 1 0 0 0 1.0 - hi -\n";
 * const tree = parseDumpfile(new TextEncoder().encode(text));
 * const image = writeImage(tree, { hash: "sha256" });
 * assert.deepEqual([...readTree(openImage(image)).root.entries.keys()], ["a"]);
 * ```
 *
 * @module
 */
export * from "./layout.ts";
export { type ErofsVersion, writeImage, type WriteImageOptions } from "./write.ts";
export { ErofsImage, MAX_IMAGE_SIZE, openImage } from "./read.ts";
export { readTree, type ReadTreeOptions } from "./image_tree.ts";
export {
  detectHash,
  findObjectUsers,
  listImageObjects,
  listObjects,
  type ListObjectsOptions,
} from "./objects.ts";
export { checkStructure } from "./structure.ts";
export { filterRoot, listEntries, type ListEntriesOptions } from "./list.ts";
export { rewriteImage } from "./rewrite.ts";
export { debugImage } from "./debug.ts";
