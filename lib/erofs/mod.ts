/**
 * Composefs EROFS images: writing them from a file tree and reading them back.
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
export { debugImage } from "./debug.ts";
