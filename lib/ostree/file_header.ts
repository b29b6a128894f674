/** Headers of file objects: the object stream's and the archive form's (spec: ostree 2.4). */
import { type ByteString, FormatError, safeNumber, utf8ByteString } from "../base/mod.ts";
import { NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import { S_IFLNK, S_IFMT, S_IFREG } from "./dirmeta.ts";
import { utf8Text } from "./dirtree.ts";
import { swap32, swap64, type VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { encodeVariant } from "./variant_write.ts";
import { type CheckOptions, xattrsFromVariant, xattrsToVariant } from "./xattr_list.ts";

/** Variant type of the header that is hashed with a file's content. */
export const STREAM_HEADER_TYPE = "(uuuusa(ayay))";
/** Variant type of the header of `.filez` files. */
export const ARCHIVE_HEADER_TYPE = "(tuuuusa(ayay))";

/** The frame before a header: its size, big endian, and zeros. */
export const FRAME = { size: [0, "u32"], zero: [4, "u32"] } as const;
/** Bytes of the frame. */
export const FRAME_SIZE = 8;
/** Largest header that is read, in bytes. */
export const MAX_HEADER_SIZE = 16 * 1024 * 1024;
/** Longest target of a symbolic link, in bytes. */
export const MAX_TARGET = 4095;

const FORMAT = "ostree file";

/** What a file object says about its file. */
export interface FileHeader {
  /** Size of the content in bytes; 0 for symbolic links. */
  readonly size: number;
  /** Owner, u32. */
  readonly uid: number;
  /** Group, u32. */
  readonly gid: number;
  /** Type bits (regular file or symbolic link) and permissions. */
  readonly mode: number;
  /** Target of a symbolic link, UTF-8; empty for regular files. */
  readonly target: ByteString;
  /** Extended attributes, names without NUL. */
  readonly xattrs: Xattrs;
}

/** Whether a header is a symbolic link's. */
export function isSymlink(header: FileHeader): boolean {
  return (header.mode & S_IFMT) === S_IFLNK;
}

/**
 * Size in bytes of the header variant after a frame.
 *
 * @throws {FormatError} when the frame is cut off, claims too much, or its padding is not zero
 */
export function parseFrame(bytes: Uint8Array): number {
  if (bytes.length < FRAME_SIZE) {
    throw new FormatError(FORMAT, `File header of ${bytes.length} bytes is too short`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(FRAME.size[0], false);
  if (size > MAX_HEADER_SIZE) {
    throw new FormatError(FORMAT, `File header size ${size} is too large`);
  }
  if (view.getUint32(FRAME.zero[0], false) !== 0) {
    throw new FormatError(FORMAT, "File header padding is not zero");
  }
  return size;
}

/** A header variant with the frame before it. */
export function frameHeader(variant: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(FRAME_SIZE + variant.length);
  new DataView(out.buffer).setUint32(FRAME.size[0], variant.length, false);
  out.set(variant, FRAME_SIZE);
  return out;
}

/**
 * Parses an archive header variant (without its frame).
 *
 * @throws {FormatError} when it is not in normal form or describes no file that can be
 */
export function parseArchiveHeader(variant: Uint8Array, options: CheckOptions = {}): FileHeader {
  if (isPlainVariant(variant)) return parsePlain(variant);
  const [size, ...rest] = decodeVariant(ARCHIVE_HEADER_TYPE, variant) as [
    bigint,
    ...VariantValue[],
  ];
  return fileHeader(safeNumber(swap64(size), FORMAT, "file size"), rest, options);
}

/**
 * Parses the header variant of an object stream (without its frame); `size` is that of the content.
 *
 * @throws {FormatError} as {@linkcode parseArchiveHeader}
 */
export function parseStreamHeader(
  variant: Uint8Array,
  options: CheckOptions & { size: number },
): FileHeader {
  const rest = decodeVariant(STREAM_HEADER_TYPE, variant) as VariantValue[];
  return fileHeader(options.size, rest, options);
}

function fileHeader(size: number, rest: VariantValue[], options: CheckOptions): FileHeader {
  const [uid, gid, mode, rdev, target, xattrs] = rest as [
    number,
    number,
    number,
    number,
    string,
    VariantValue,
  ];
  const header: FileHeader = {
    size,
    uid: swap32(uid),
    gid: swap32(gid),
    mode: swap32(mode),
    target: utf8ByteString(target),
    xattrs: xattrsFromVariant(xattrs, { ...options, format: FORMAT }),
  };
  if (rdev !== 0) throw new FormatError(FORMAT, `Invalid file device number ${swap32(rdev)}`);
  checkFileHeader(header);
  return header;
}

/**
 * Checks that a header describes a regular file or a symbolic link and nothing impossible.
 *
 * @throws {FormatError} saying what is wrong
 */
export function checkFileHeader(header: FileHeader): void {
  const { mode, target, size } = header;
  const type = mode & S_IFMT;
  if (type !== S_IFREG && type !== S_IFLNK) {
    throw new FormatError(FORMAT, `Invalid file metadata mode ${mode}; not a valid file type`);
  }
  if (mode > 0o177777) throw new FormatError(FORMAT, `Invalid file metadata mode ${mode}`);
  if (type === S_IFREG) {
    if (target !== "") throw new FormatError(FORMAT, "Regular file with a symbolic link's target");
    return;
  }
  if (target === "") throw new FormatError(FORMAT, "Symbolic link without a target");
  if (target.includes("\0")) throw new FormatError(FORMAT, "Symbolic link target with a NUL");
  if (target.length > MAX_TARGET) {
    throw new FormatError(FORMAT, `Symbolic link target of ${target.length} bytes is too long`);
  }
  if (size !== 0) throw new FormatError(FORMAT, `Symbolic link with ${size} bytes of content`);
}

function common(header: FileHeader): VariantValue[] {
  return [
    swap32(header.uid),
    swap32(header.gid),
    swap32(header.mode),
    0,
    utf8Text(header.target, "link target"),
    xattrsToVariant(header.xattrs),
  ];
}

/** A framed header without target and attributes, as most files have it: offsets after the frame. */
const PLAIN = { uid: 0, gid: 4, mode: 8, rdev: 12, size: 18 } as const;
/** Where the empty target ends in it, which is its only framing offset. */
const PLAIN_END = PLAIN.size - 1;
const SIZE_FIELD = 8;

/** Whether this can only be the archive header of a file without target and attributes. */
function isPlainVariant(variant: Uint8Array): boolean {
  const end = SIZE_FIELD + PLAIN_END;
  return variant.length === end + 1 && variant[end] === end && variant[end - 1] === 0;
}

/** The header of a plain file, read without going through values. */
function parsePlain(variant: Uint8Array): FileHeader {
  const view = new DataView(variant.buffer, variant.byteOffset, variant.length);
  const rdev = view.getUint32(SIZE_FIELD + PLAIN.rdev, false);
  if (rdev !== 0) throw new FormatError(FORMAT, `Invalid file device number ${rdev}`);
  const header: FileHeader = {
    size: safeNumber(view.getBigUint64(0, false), FORMAT, "file size"),
    uid: view.getUint32(SIZE_FIELD + PLAIN.uid, false),
    gid: view.getUint32(SIZE_FIELD + PLAIN.gid, false),
    mode: view.getUint32(SIZE_FIELD + PLAIN.mode, false),
    target: "",
    xattrs: NO_XATTRS,
  };
  checkFileHeader(header);
  return header;
}

/** The header of a plain file, written without going through values: there are many of them. */
function plainHeader(header: FileHeader, before: number): Uint8Array<ArrayBuffer> {
  const size = before + PLAIN.size;
  const out = new Uint8Array(FRAME_SIZE + size);
  const view = new DataView(out.buffer);
  view.setUint32(FRAME.size[0], size, false);
  if (before > 0) view.setBigUint64(FRAME_SIZE, BigInt(header.size), false);
  const at = FRAME_SIZE + before;
  view.setUint32(at + PLAIN.uid, header.uid, false);
  view.setUint32(at + PLAIN.gid, header.gid, false);
  view.setUint32(at + PLAIN.mode, header.mode, false);
  view.setUint8(at + PLAIN_END, before + PLAIN_END);
  return out;
}

function isPlain(header: FileHeader): boolean {
  return header.target === "" && header.xattrs.size === 0;
}

/** The framed archive header, as `.filez` files and commit streams begin. */
export function encodeArchiveHeader(header: FileHeader): Uint8Array<ArrayBuffer> {
  if (isPlain(header)) return plainHeader(header, SIZE_FIELD);
  const size = isSymlink(header) ? 0n : BigInt(header.size);
  return frameHeader(encodeVariant(ARCHIVE_HEADER_TYPE, [swap64(size), ...common(header)]));
}

/** The framed header that is hashed before a file's content. */
export function encodeStreamHeader(header: FileHeader): Uint8Array<ArrayBuffer> {
  if (isPlain(header)) return plainHeader(header, 0);
  return frameHeader(encodeVariant(STREAM_HEADER_TYPE, common(header)));
}

/**
 * The framed stream header that belongs to an archive header variant in normal form, with its
 * members as they are: what the reference wrote without the NUL of names keeps its checksum.
 */
export function streamHeaderOf(variant: Uint8Array): Uint8Array<ArrayBuffer> {
  const [, ...rest] = decodeVariant(ARCHIVE_HEADER_TYPE, variant) as VariantValue[];
  return frameHeader(encodeVariant(STREAM_HEADER_TYPE, rest));
}
