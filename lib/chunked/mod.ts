/**
 * Layers of the kind zstd:chunked: reading their tables of contents, finding out what has to be
 * fetched of them, and putting the tar together again.
 *
 * @example See whether a layer can be fetched in parts
 * ```ts
 * import { chunkedSupport } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const support = chunkedSupport({
 *   "io.github.containers.zstd-chunked.manifest-checksum": "sha256:" + "0".repeat(64),
 *   "io.github.containers.zstd-chunked.manifest-position": "44535:1484:5258:1",
 *   "io.github.containers.zstd-chunked.tarsplit-position": "46027:1810:38222",
 * }, 47909);
 * assert.equal(support.kind === "chunked" && support.layer.toc.offset, 44535);
 * ```
 *
 * @module
 */
export {
  type ChunkedLayer,
  type ChunkedSupport,
  chunkedSupport,
  type PartLocation,
} from "./annotations.ts";
export { type Chunk, Chunker } from "./chunker.ts";
export {
  ContentIndex,
  ContentIndexBuilder,
  type IndexedContent,
  SMALL_MAX,
} from "./content_index.ts";
export { type Footer, FOOTER_SIZE, formatFooter, parseFooter, skippableFrame } from "./footer.ts";
export { joinTarSplit, lossyText, tocName } from "./join.ts";
export type { JsonString } from "./json.ts";
export { ANNOTATION, DIGEST_SIZE, LIMITS, SKIPPABLE_HEADER } from "./layout.ts";
export { type FetchPlan, type KnownContent, type KnownContents, PIECE, planFetch } from "./plan.ts";
export { type BlobRange, type MergeOptions, mergeRanges, rangeBytes } from "./ranges.ts";
export { ChunkUnpacker, rebuildTar, unpackPart, unpackWhole } from "./rebuild.ts";
export { FILE_LINE, SEGMENT_LINE, type TarSplitLine, tarSplitLines } from "./tar_split.ts";
export { parseToc, type Toc } from "./toc.ts";
