/**
 * Reading a real directory into a file tree.
 *
 * @example Scan a directory
 * ```ts
 * import { scanDirectory } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const directory = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${directory}/hello`, "hello\n");
 * const { tree } = await scanDirectory(directory, { hash: "sha256" });
 * await Deno.remove(directory, { recursive: true });
 * assert.deepEqual([...tree.root.entries.keys()], ["hello"]);
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
