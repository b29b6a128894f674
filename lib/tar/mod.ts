/**
 * Tar streams: splitting them into inline bytes and file contents, and reading entries back
 * (spec: oci 2).
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
