/**
 * Reading a real directory into a file tree.
 *
 * ```ts ignore
 * const { tree, warnings } = await scanDirectory("/srv/root", { hash: "sha256" });
 * ```
 *
 * @example Name content as a scan does
 * ```ts
 * import { ALGORITHMS, nodeHash } from "../base/mod.ts";
 * import { HashSink } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const sink = new HashSink(ALGORITHMS.sha256, nodeHash);
 * const bytes = new TextEncoder().encode("hello world".padEnd(100));
 * assert.equal(sink.whole(bytes, 11).slice(0, 16), "1e2eaa4202d750a4");
 * ```
 *
 * @module
 */
export {
  BatchReader,
  type BatchResult,
  type FileBatch,
  type FileGroup,
  MAX_INLINE,
} from "./batch.ts";
export { scanDirectory, type ScanOptions, type ScanResult } from "./scan.ts";
export { type ContentPieces, type ContentSink, HashSink, type SinkSource } from "./sink.ts";
export { handleScan, READ_FILES } from "./worker_setup.ts";
