/** Directory metadata objects (spec: ostree 2.3). */
import { FormatError } from "../base/mod.ts";
import type { Xattrs } from "../tree/mod.ts";
import { swap32, type VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { encodeVariant } from "./variant_write.ts";
import { type CheckOptions, xattrsFromVariant, xattrsToVariant } from "./xattr_list.ts";

/** Variant type of a dirmeta object, and of the attribute that bare-user repositories use. */
export const DIRMETA_TYPE = "(uuua(ayay))";

const FORMAT = "ostree dirmeta";

/** Mode bits of a file type. */
export const S_IFMT = 0o170000;
/** Type bits of a directory. */
export const S_IFDIR = 0o040000;
/** Type bits of a regular file. */
export const S_IFREG = 0o100000;
/** Type bits of a symbolic link. */
export const S_IFLNK = 0o120000;

/** Ownership, mode (type bits included) and extended attributes. */
export interface DirMeta {
  /** Owner, u32. */
  readonly uid: number;
  /** Group, u32. */
  readonly gid: number;
  /** Type bits and permissions. */
  readonly mode: number;
  /** Extended attributes, names without NUL. */
  readonly xattrs: Xattrs;
}

/**
 * Parses a dirmeta object.
 *
 * @throws {FormatError} when it is not in normal form or does not describe a directory
 */
export function parseDirMeta(bytes: Uint8Array, options: CheckOptions = {}): DirMeta {
  const meta = parseMetaVariant(bytes, { ...options, format: FORMAT });
  if ((meta.mode & S_IFMT) !== S_IFDIR) {
    throw new FormatError(FORMAT, `Invalid directory metadata mode ${meta.mode}; not a directory`);
  }
  if (meta.mode > 0o177777) {
    throw new FormatError(FORMAT, `Invalid directory metadata mode ${meta.mode}; invalid bits`);
  }
  return meta;
}

/** Parses `(uuua(ayay))` whatever its mode says. */
export function parseMetaVariant(
  bytes: Uint8Array,
  options: CheckOptions & { format: string },
): DirMeta {
  const [uid, gid, mode, xattrs] = decodeVariant(DIRMETA_TYPE, bytes) as [
    number,
    number,
    number,
    VariantValue,
  ];
  return {
    uid: swap32(uid),
    gid: swap32(gid),
    mode: swap32(mode),
    xattrs: xattrsFromVariant(xattrs, options),
  };
}

/** Serializes a dirmeta object, or a bare-user file's metadata. */
export function encodeDirMeta(meta: DirMeta): Uint8Array<ArrayBuffer> {
  return encodeVariant(DIRMETA_TYPE, [
    swap32(meta.uid),
    swap32(meta.gid),
    swap32(meta.mode),
    xattrsToVariant(meta.xattrs),
  ]);
}
