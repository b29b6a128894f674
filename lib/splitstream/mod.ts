/**
 * Splitstreams: byte streams whose larger parts are objects of a repository (spec: repository 10).
 *
 * @example Write a stream and read it back
 * ```ts
 * import { CONTENT_TYPE, openSplitstream, SplitstreamWriter } from "./mod.ts";
 * import { ALGORITHMS, nodeZstd, parseObjectId } from "../base/mod.ts";
 * import assert from "node:assert/strict";
 *
 * const options = {
 *   algorithm: ALGORITHMS.sha256,
 *   contentType: CONTENT_TYPE.ociBlob,
 *   codec: nodeZstd,
 * };
 * const writer = new SplitstreamWriter(options);
 * writer.addInline(new TextEncoder().encode("hello"));
 * writer.addExternal(parseObjectId("ab".repeat(32)), 100);
 * const stream = openSplitstream(writer.finish(), options);
 * assert.equal(stream.streamSize, 105n);
 * assert.deepEqual([...stream.chunks()].map((chunk) => chunk.type), ["inline", "external"]);
 * ```
 *
 * @module
 */
export {
  checkDirfdName,
  type DirfdChunk,
  type DirfdEvent,
  DirfdStreamReader,
  encodeDirfdChunk,
} from "./dirfd.ts";
export { CONTENT_TYPE } from "./layout.ts";
export { SplitstreamWriter, type SplitstreamWriterOptions } from "./write.ts";
export {
  isSplitstream,
  openSplitstream,
  type OpenSplitstreamOptions,
  RefTable,
  type Splitstream,
  SPLITSTREAM_HEAD_SIZE,
  type SplitstreamChunk,
} from "./read.ts";
