/**
 * Single attributes and their bytes (spec: erofs 4.4).
 *
 * @module
 */
import { type ByteString, type HashName, writeByteString } from "../base/mod.ts";
import { METACOPY, METACOPY_SIZE, XATTR_ENTRY, XATTR_ENTRY_SIZE, XATTR_UNIT } from "./layout.ts";
import { splitXattrName, xattrFilterBit } from "./xattr_names.ts";

/** A fault that the writer completes with the path of the inode. */
export class XattrWriteFault extends Error {}

/** Longest suffix of a name that an entry can hold. */
const SUFFIX_MAX = 255;
const VALUE_MAX = 65535;
/** Digest sizes in bytes by algorithm. */
export const DIGEST_SIZE = { sha256: 32, sha512: 64 } as const;
const KERNEL_ALGORITHM = { sha256: 1, sha512: 2 } as const;

/** One attribute with its value, wherever it occurs. */
export interface XattrItem {
  readonly name: ByteString;
  readonly index: number;
  readonly suffix: ByteString;
  readonly value: ByteString;
  readonly bit: number;
  readonly size: number;
  count: number;
  reference: number;
}

function padded(size: number): number {
  return Math.ceil(size / XATTR_UNIT) * XATTR_UNIT;
}

function compareStrings(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The order of attributes in formats 0 and 1. */
export function compareNamed(a: XattrItem, b: XattrItem): number {
  return compareStrings(a.name, b.name) || a.value.length - b.value.length ||
    compareStrings(a.value, b.value);
}

/** The order of the shared table in format 2. */
export function compareSplit(a: XattrItem, b: XattrItem): number {
  return a.index - b.index || compareStrings(a.suffix, b.suffix) ||
    compareStrings(a.value, b.value);
}

/**
 * Makes an item.
 *
 * @param lustre whether `lustre.` counts as a prefix
 * @throws {XattrWriteFault} for a name or a value that no entry can hold
 */
export function makeXattr(name: ByteString, value: ByteString, lustre: boolean): XattrItem {
  const { index, suffix } = splitXattrName(name, { lustre });
  if (suffix.length > SUFFIX_MAX) {
    throw new XattrWriteFault(`xattr name of ${name.length} bytes is too long`);
  }
  if (value.length > VALUE_MAX) {
    throw new XattrWriteFault(`xattr value of ${value.length} bytes is too long`);
  }
  const size = padded(XATTR_ENTRY_SIZE + suffix.length + value.length);
  const bit = xattrFilterBit(index, suffix);
  return { name, index, suffix, value, bit, size, count: 0, reference: 0 };
}

function writeHead(item: XattrItem, out: Uint8Array, at: number): number {
  out[at + XATTR_ENTRY.nameLength[0]] = item.suffix.length;
  out[at + XATTR_ENTRY.nameIndex[0]] = item.index;
  out[at + XATTR_ENTRY.valueLength[0]] = item.value.length % 256;
  out[at + XATTR_ENTRY.valueLength[0] + 1] = Math.floor(item.value.length / 256);
  return writeByteString(item.suffix, out, at + XATTR_ENTRY_SIZE);
}

/** Writes one entry into zeroed bytes; returns the offset after it and its padding. */
export function writeEntry(item: XattrItem, out: Uint8Array, at: number): number {
  writeByteString(item.value, out, writeHead(item, out, at));
  return at + item.size;
}

/** The value of a metacopy up to the digest. */
export function metacopyHead(hash: HashName): Uint8Array {
  const head = new Uint8Array(METACOPY_SIZE);
  head[METACOPY.length[0]] = METACOPY_SIZE + DIGEST_SIZE[hash];
  head[METACOPY.algorithm[0]] = KERNEL_ALGORITHM[hash];
  return head;
}

/** The start of an entry that is the same for all digests. */
export function headBytes(item: XattrItem, valueHead: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(XATTR_ENTRY_SIZE + item.suffix.length + valueHead.length);
  bytes.set(valueHead, writeHead(item, bytes, 0));
  return bytes;
}
