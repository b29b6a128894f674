import type { ByteString, ObjectId } from "../base/mod.ts";
import type { LeafContent, Stat } from "../tree/mod.ts";

/** Regular files above this many bytes become objects; others stay inline (spec: oci 2.1). */
export const INLINE_MAX = 64;

/** What a tar entry puts into a tree. A hard link's target is an absolute path like `path`. */
export type TarItem =
  | { readonly type: "directory" }
  | { readonly type: "hardlink"; readonly target: ByteString }
  | LeafContent;

/** One entry as it is applied to a tree (spec: oci 2.3). */
export interface TarEntry {
  /** `/` and the name without a leading and any trailing slashes; empty for the name `/`. */
  readonly path: ByteString;
  /** Ownership, permissions, times and extended attributes. */
  readonly stat: Stat;
  /** Type and content. */
  readonly item: TarItem;
}

/** A piece of a split layer: inline bytes, or a whole object. */
export type TarChunk =
  | { readonly type: "inline"; readonly bytes: Uint8Array }
  | { readonly type: "external"; readonly id: ObjectId };

/**
 * Receives the parts of a tar stream while it is split. Views are valid only during the call.
 * Everything that is not the content of a regular file above {@linkcode INLINE_MAX} is inline.
 */
export interface TarSplitSink {
  /** Bytes that stay inline: headers, small files, padding, the tail. */
  inline(bytes: Uint8Array): void;
  /** The content of a file of `size` bytes (above {@linkcode INLINE_MAX}) begins. */
  externalStart(size: number): void;
  /** The next bytes of that content. */
  externalData(bytes: Uint8Array): void;
  /** That content is complete: all `size` bytes were given. */
  externalEnd(): void;
}
