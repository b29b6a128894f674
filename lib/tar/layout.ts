/**
 * The tar header as data (spec: oci 2.2). Fields are [offset, length in bytes].
 *
 * @module
 */

/** Everything in a tar stream comes in blocks of this many bytes. */
export const BLOCK = 512;

/** The ustar header; GNU and V7 headers have the same places for the fields they share. */
export const HEADER = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  deviceMajor: [329, 8],
  deviceMinor: [337, 8],
  prefix: [345, 155],
} as const;

/** Magic and version of a POSIX header. */
export const USTAR_MAGIC = "ustar\x0000";

/** Magic and version of a GNU header. */
export const GNU_MAGIC = "ustar  \0";

/** Type flags, as byte values. */
export const TYPE = {
  oldRegular: 0x00,
  regular: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36,
  contiguous: 0x37,
  gnuLongLink: 0x4b,
  gnuLongName: 0x4c,
  gnuSparse: 0x53,
  globalPax: 0x67,
  pax: 0x78,
} as const;

/** Most bytes of extension data that are held for one entry. */
export const METADATA_LIMIT = 2 ** 20;

/** Largest size field for which the block behind the data is looked at (see `TarMachine`). */
export const LOOKAHEAD_LIMIT = 2 ** 20;

/** `size` and its padding: the next multiple of the block size. */
export function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}
