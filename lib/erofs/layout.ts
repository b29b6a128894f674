/**
 * Where the fields of an EROFS image are: the one table that the writer and the reader share. Each
 * field is `[offset, type]`; all numbers are little-endian (spec: erofs 4.1, 4.5, 4.6).
 *
 * @module
 */

/** The type of a field; `bytes` fields carry their length as a third element. */
export type FieldType = "u8" | "u16" | "u32" | "u64" | "i64" | "bytes";

/** One structure: field name to offset in bytes and type. */
export type Layout = Readonly<
  Record<string, readonly [offset: number, type: FieldType, length?: number]>
>;

/** log2 of the block size. */
export const BLOCK_BITS = 12;
/** Block size in bytes. */
export const BLOCK_SIZE = 4096;
/** Inodes start at multiples of this; an inode's number (nid) is its offset divided by it. */
export const INODE_SLOT = 32;
/** References to shared extended attributes count in units of this many bytes. */
export const XATTR_UNIT = 4;

/** The header that composefs puts in front of the superblock, at offset 0. */
export const COMPOSEFS_HEADER = {
  magic: [0, "u32"],
  version: [4, "u32"],
  flags: [8, "u32"],
  composefsVersion: [12, "u32"],
  unused: [16, "bytes", 16],
} as const satisfies Layout;
/** Size of {@linkcode COMPOSEFS_HEADER} in bytes. */
export const COMPOSEFS_HEADER_SIZE = 32;
/** Magic number of {@linkcode COMPOSEFS_HEADER}. */
export const COMPOSEFS_MAGIC = 0xd078629a;
/** The only version of {@linkcode COMPOSEFS_HEADER}. */
export const COMPOSEFS_HEADER_VERSION = 1;
/** Header flag: some inode has a POSIX ACL. */
export const COMPOSEFS_FLAG_ACL = 1;

/** Offset of {@linkcode SUPERBLOCK} in the image. */
export const SUPERBLOCK_OFFSET = 1024;
/** The EROFS superblock (`struct erofs_super_block` in the kernel's erofs_fs.h). */
export const SUPERBLOCK = {
  magic: [0, "u32"],
  checksum: [4, "u32"],
  featureCompat: [8, "u32"],
  blkszbits: [12, "u8"],
  extslots: [13, "u8"],
  rootNid: [14, "u16"],
  inos: [16, "u64"],
  buildTime: [24, "i64"],
  buildTimeNsec: [32, "u32"],
  blocks: [36, "u32"],
  metaBlkaddr: [40, "u32"],
  xattrBlkaddr: [44, "u32"],
  uuid: [48, "bytes", 16],
  volumeName: [64, "bytes", 16],
  featureIncompat: [80, "u32"],
  availableComprAlgs: [84, "u16"],
  extraDevices: [86, "u16"],
  devtSlotoff: [88, "u16"],
  dirblkbits: [90, "u8"],
  xattrPrefixCount: [91, "u8"],
  xattrPrefixStart: [92, "u32"],
  packedNid: [96, "u64"],
  xattrFilterReserved: [104, "u8"],
  reserved: [105, "bytes", 23],
} as const satisfies Layout;
/** Size of {@linkcode SUPERBLOCK} in bytes. */
export const SUPERBLOCK_SIZE = 128;
/** Magic number of {@linkcode SUPERBLOCK}. */
export const EROFS_MAGIC = 0xe0f5e1e2;
/** Where the first inode may start: the end of the superblock. */
export const INODES_OFFSET = 1152;

/** Compatible feature: the superblock has a checksum. */
export const FEATURE_COMPAT_SB_CHECKSUM = 1;
/** Compatible feature: inodes have modification times. */
export const FEATURE_COMPAT_MTIME = 2;
/** Compatible feature: extended attributes have a name filter. */
export const FEATURE_COMPAT_XATTR_FILTER = 4;
/** Incompatible feature: chunk-based files. */
export const FEATURE_INCOMPAT_CHUNKED_FILE = 4;

/** Bit of an inode's format that says it is extended. */
export const FORMAT_EXTENDED = 1;
/** Bits of an inode's format that say where its data is. */
export const FORMAT_LAYOUT_MASK = 0b1110;
/** Data layout: whole blocks. */
export const LAYOUT_PLAIN = 0;
/** Data layout: whole blocks, and the rest after the inode. */
export const LAYOUT_INLINE = 4;
/** Data layout: an array of chunk addresses after the inode. */
export const LAYOUT_CHUNK = 8;

/** The 32-byte inode. */
export const INODE_COMPACT = {
  format: [0, "u16"],
  icount: [2, "u16"],
  mode: [4, "u16"],
  nlink: [6, "u16"],
  size: [8, "u32"],
  reserved: [12, "u32"],
  u: [16, "u32"],
  ino: [20, "u32"],
  uid: [24, "u16"],
  gid: [26, "u16"],
  reserved2: [28, "u32"],
} as const satisfies Layout;
/** Size of {@linkcode INODE_COMPACT} in bytes. */
export const INODE_COMPACT_SIZE = 32;

/** The 64-byte inode. */
export const INODE_EXTENDED = {
  format: [0, "u16"],
  icount: [2, "u16"],
  mode: [4, "u16"],
  reserved: [6, "u16"],
  size: [8, "u64"],
  u: [16, "u32"],
  ino: [20, "u32"],
  uid: [24, "u32"],
  gid: [28, "u32"],
  mtime: [32, "i64"],
  mtimeNsec: [40, "u32"],
  nlink: [44, "u32"],
  reserved2: [48, "bytes", 16],
} as const satisfies Layout;
/** Size of {@linkcode INODE_EXTENDED} in bytes. */
export const INODE_EXTENDED_SIZE = 64;

/** Head of an inode's extended attributes, after the inode; the references follow. */
export const XATTR_HEADER = {
  nameFilter: [0, "u32"],
  sharedCount: [4, "u8"],
  reserved: [5, "bytes", 7],
} as const satisfies Layout;
/** Size of {@linkcode XATTR_HEADER} in bytes. */
export const XATTR_HEADER_SIZE = 12;
/** Size of one reference to a shared extended attribute in bytes. */
export const XATTR_REFERENCE_SIZE = 4;

/** Head of one extended attribute; the suffix, the value and zeros up to 4 follow. */
export const XATTR_ENTRY = {
  nameLength: [0, "u8"],
  nameIndex: [1, "u8"],
  valueLength: [2, "u16"],
} as const satisfies Layout;
/** Size of {@linkcode XATTR_ENTRY} in bytes. */
export const XATTR_ENTRY_SIZE = 4;

/** The name prefixes by index; index 0 means that the suffix is the whole name (spec: erofs 4.4). */
export const XATTR_PREFIXES = [
  "",
  "user.",
  "system.posix_acl_access",
  "system.posix_acl_default",
  "trusted.",
  "lustre.",
  "security.",
] as const;
/** Seed of the name filter's hash; the name index is added. */
export const XATTR_FILTER_SEED = 0x25bbe08f;

/** One directory entry at the start of a directory block or tail; the names follow all entries. */
export const DIRENT = {
  nid: [0, "u64"],
  nameOffset: [8, "u16"],
  type: [10, "u8"],
  reserved: [11, "u8"],
} as const satisfies Layout;
/** Size of {@linkcode DIRENT} in bytes. */
export const DIRENT_SIZE = 12;

/** File types in directory entries. */
export const DIRENT_TYPE = {
  regular: 1,
  directory: 2,
  char: 3,
  block: 4,
  fifo: 5,
  socket: 6,
  symlink: 7,
} as const;

/** Size of one chunk address in bytes. */
export const CHUNK_ADDRESS_SIZE = 4;
/** The chunk address that means "no data here". */
export const CHUNK_NULL = 0xffffffff;

/** Mask of the file type in a mode. */
export const S_IFMT = 0o170000;
/** File types in modes. */
export const S_IF = {
  socket: 0o140000,
  symlink: 0o120000,
  regular: 0o100000,
  block: 0o060000,
  directory: 0o040000,
  char: 0o020000,
  fifo: 0o010000,
} as const;

/** Head of the value of `trusted.overlay.metacopy`; the digest follows (spec: erofs 4.3). */
export const METACOPY = {
  version: [0, "u8"],
  length: [1, "u8"],
  flags: [2, "u8"],
  algorithm: [3, "u8"],
} as const satisfies Layout;
/** Size of {@linkcode METACOPY} in bytes. */
export const METACOPY_SIZE = 4;
