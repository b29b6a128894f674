/**
 * What zstd:chunked adds to a layer, as data: annotation names, the footer, and the limits that
 * keep hostile tables of contents cheap (spec: zstd-chunked 1.1, 2.1, 7).
 *
 * @module
 */

/** Names of the annotations on a layer's descriptor (spec: zstd-chunked 1.1). */
export const ANNOTATION = {
  tocDigest: "io.github.containers.zstd-chunked.manifest-checksum",
  tocPosition: "io.github.containers.zstd-chunked.manifest-position",
  tarSplitPosition: "io.github.containers.zstd-chunked.tarsplit-position",
  oldTocDigest: "io.containers.zstd-chunked.manifest-checksum",
  stargzDigest: "containerd.io/snapshot/stargz/toc.digest",
} as const;

/** The payload of the footer's frame, little-endian (spec: zstd-chunked 2.1). */
export const FOOTER = {
  tocOffset: [0, "u64"],
  tocLength: [8, "u64"],
  tocSize: [16, "u64"],
  type: [24, "u64"],
  tarSplitOffset: [32, "u64"],
  tarSplitLength: [40, "u64"],
  tarSplitSize: [48, "u64"],
  magic: [56, "8"],
} as const;

/** Bytes of the footer's payload. */
export const FOOTER_PAYLOAD = 64;

/** The footer's payload as the first writers made it; without a tar-split. */
export const OLD_FOOTER = {
  tocOffset: [0, "u64"],
  tocLength: [8, "u64"],
  tocSize: [16, "u64"],
  type: [24, "u64"],
  magic: [32, "8"],
} as const;

/** Bytes of the old footer's payload. */
export const OLD_FOOTER_PAYLOAD = 40;

/** The bytes that end a footer. */
export const FOOTER_MAGIC = "GNUlInUx";

/** The bytes that end an old footer. */
export const OLD_FOOTER_MAGIC = "GnUlInUx";

/** The header of a skippable frame: magic and length of the payload. */
export const SKIPPABLE = { magic: [0, "u32"], length: [4, "u32"] } as const;

/** Bytes of a skippable frame's header. */
export const SKIPPABLE_HEADER = 8;

/** Magic of the skippable frames that writers use. */
export const SKIPPABLE_MAGIC = 0x184d2a50;

/** The only type of table of contents there is. */
export const TOC_TYPE = 1;

/** The only version of the table of contents there is. */
export const TOC_VERSION = 1;

/** Bounds on what a layer may ask for (spec: zstd-chunked 7). */
export const LIMITS = {
  /** Bytes of the compressed table of contents. */
  tocLength: 32 * 2 ** 20,
  /** Bytes of the table of contents. */
  tocSize: 150 * 2 ** 20,
  /** Bytes of the compressed tar-split. */
  tarSplitLength: 64 * 2 ** 20,
  /** Bytes of the tar-split. */
  tarSplitSize: 2 ** 31,
  /** Bytes of one line of the tar-split. */
  tarSplitLine: 8 * 2 ** 20,
  /** Entries of the table of contents, those of chunks included. */
  entries: 2_000_000,
  /** Bytes of all contents. */
  contents: 64 * 2 ** 30,
  /** Compressed bytes of one chunk: it is decoded from memory. */
  frame: 64 * 2 ** 20,
} as const;

/** Bytes of a raw sha256 digest. */
export const DIGEST_SIZE = 32;
