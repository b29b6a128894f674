/**
 * Tar streams: splitting them into inline bytes and file contents, and reading entries back
 * (spec: oci 2).
 *
 * @example Split a tar stream
 * ```ts
 * import { TarSplitter } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * let inline = 0;
 * const splitter = new TarSplitter({
 *   inline: (bytes) => void (inline += bytes.length),
 *   externalStart() {},
 *   externalData() {},
 *   externalEnd() {},
 * });
 * splitter.push(new Uint8Array(1024)); // Two zero blocks: the end of an archive.
 * splitter.finish();
 * assert.equal(inline, 1024);
 * assert.equal(splitter.entryCount, 0);
 * ```
 *
 * @module
 */
export {
  INLINE_MAX,
  type TarChunk,
  type TarEntry,
  type TarItem,
  type TarSplitSink,
} from "./entry.ts";
export { TarSplitter } from "./split.ts";
export { locateTarMembers, type TarMember } from "./locate.ts";
export { readLayerEntries, readTarEntries } from "./read.ts";
export { type TarHeaderFields, writeTarHeader } from "./write_header.ts";
