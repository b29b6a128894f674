/**
 * Names of extended attributes as images hold them (spec: erofs 1.5, 4.3, 4.4).
 *
 * @module
 */
import type { ByteString } from "../base/mod.ts";
import { XATTR_FILTER_SEED, XATTR_PREFIXES } from "./layout.ts";
import { xxh32 } from "./xxh32.ts";

/** Overlay attributes of the tree's own are kept under a second `overlay.`. */
const OVERLAY_PREFIX = "trusted.overlay.";
const ESCAPED_PREFIX = "trusted.overlay.overlay.";
/** Index of `lustre.`, which formats 0 and 1 do not use. */
const LUSTRE = 5;

/** Digest of the object that holds a file's data. */
export const METACOPY_NAME: ByteString = "trusted.overlay.metacopy";
/** Path of the object that holds a file's data. */
export const REDIRECT_NAME: ByteString = "trusted.overlay.redirect";
/** Marks a directory as hiding what is below it. */
export const OPAQUE_NAME: ByteString = "trusted.overlay.opaque";
/** Attributes of a regular file that stands for a whiteout. */
export const WHITEOUT_NAMES: readonly ByteString[] = [
  "trusted.overlay.overlay.whiteout",
  "user.overlay.whiteout",
];
/** Attributes of a directory that holds such files. */
export const WHITEOUTS_NAMES: readonly ByteString[] = [
  "trusted.overlay.overlay.whiteouts",
  "user.overlay.whiteouts",
];
/** Attributes that format 1 adds to such a directory. */
export const ESCAPED_OPAQUE_NAMES: readonly ByteString[] = [
  "trusted.overlay.overlay.opaque",
  "user.overlay.opaque",
];

/** The name under which an attribute of the tree is written. */
export function escapeOverlay(name: ByteString): ByteString {
  return name.startsWith(OVERLAY_PREFIX)
    ? ESCAPED_PREFIX + name.slice(OVERLAY_PREFIX.length)
    : name;
}

/**
 * Splits a name into the index of its prefix and the rest.
 *
 * @param options whether `lustre.` counts as a prefix: in format 2 only
 */
export function splitXattrName(
  name: ByteString,
  options: { readonly lustre: boolean },
): { index: number; suffix: ByteString } {
  for (let index = 1; index < XATTR_PREFIXES.length; index++) {
    const prefix = XATTR_PREFIXES[index]!;
    if (name.startsWith(prefix) && (index !== LUSTRE || options.lustre)) {
      return { index, suffix: name.slice(prefix.length) };
    }
  }
  return { index: 0, suffix: name };
}

/** The bit that an attribute clears in its inode's name filter, as a 32-bit number. */
export function xattrFilterBit(index: number, suffix: ByteString): number {
  return (1 << (xxh32(suffix, XATTR_FILTER_SEED + index) & 31)) >>> 0;
}
