/**
 * The splitstream file's structures as data (spec: repository 10).
 *
 * @module
 */

/** The magic at the start of a splitstream: `SplitStream`. */
export const MAGIC = "SplitStream";

/** The one format version. */
export const VERSION = 0;

/** Length of the header that starts every splitstream, in bytes. */
export const HEADER_SIZE = 32;

/** Smallest info section; larger ones are allowed, the rest is ignored. */
export const INFO_SIZE = 80;

/** A range is two u64: start and end, absolute, end exclusive. */
export const RANGE_SIZE = 16;

/** An instruction of the plain stream: an i64. */
export const INSTRUCTION_SIZE = 8;

/** The header that is written (spec: repository 10.1). */
export const HEADER = {
  magic: [0, "ascii"],
  version: [11, "u8"],
  flags: [12, "u16"],
  algorithm: [14, "u8"],
  lgBlockSize: [15, "u8"],
  info: [16, "range"],
} as const;

/** The header of early tools, which is read but never written (spec: repository 10.1). */
export const OLD_HEADER = {
  info: [0, "range"],
  flags: [16, "u16"],
  magic: [18, "ascii"],
  version: [29, "u8"],
  algorithm: [30, "u8"],
  lgBlockSize: [31, "u8"],
} as const;

/** The info section (spec: repository 10.2). Here the stream comes before the named refs. */
export const INFO = {
  streamRefs: [0, "range"],
  objectRefs: [16, "range"],
  stream: [32, "range"],
  namedRefs: [48, "range"],
  contentType: [64, "u64"],
  streamSize: [72, "u64"],
} as const;

/** The content types in use (spec: repository 10.5). */
export const CONTENT_TYPE = {
  /** OCI tar layer, `ocilayer`. */
  ociLayer: 0x726579616c69636fn,
  /** OCI config, `ociconfg`. */
  ociConfig: 0x67666e6f6369636fn,
  /** OCI manifest, `ocimanif`. */
  ociManifest: 0x66696e616d69636fn,
  /** OCI blob that is no layer, `oci_blob`. */
  ociBlob: 0x626f6c625f69636fn,
  /** OSTree commit. */
  ostreeCommit: 0xafe138c18c463ef1n,
  /** Cached OSTree summary, `osummary`. */
  ostreeSummary: 0x7972616d6d75736fn,
} as const;

/** Bounds on what a reader believes, and so on what is written (spec: repository 14.7). */
export const LIMITS = {
  /** Bytes of a file: it is read into memory. */
  file: 2 ** 30,
  /** Plain text of the named references, bytes. */
  namedRefs: 2 ** 24,
  /** Named references: a manifest of 4 MiB cannot list a quarter of this many layers. */
  namedRefCount: 2 ** 17,
  /** How far the inline total may pass the announced stream size, bytes. */
  slack: 2 ** 20,
  /** All inline bytes: headers and tiny files, in a file that is read into memory compressed. */
  inline: 2 ** 36,
  /** External chunks: files of a layer. */
  externals: 2 ** 28,
  /** Object references. */
  objectRefs: 2 ** 31,
} as const;
