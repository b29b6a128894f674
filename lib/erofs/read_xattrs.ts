/**
 * Reading extended attributes (spec: erofs 4.4, 5.2).
 *
 * @module
 */
import { type ByteString, toByteString } from "../base/mod.ts";
import {
  XATTR_ENTRY,
  XATTR_ENTRY_SIZE,
  XATTR_HEADER,
  XATTR_HEADER_SIZE,
  XATTR_PREFIXES,
  XATTR_REFERENCE_SIZE,
  XATTR_UNIT,
} from "./layout.ts";
import { type ErofsImage, invalidImage, outOfBounds } from "./read.ts";
import type { InodeCursor } from "./read_inode.ts";

const TRUSTED = XATTR_PREFIXES.indexOf("trusted.");

/** A suffix of `trusted.` names as bytes, for comparing without making strings. */
function suffixBytes(suffix: string): Uint8Array {
  return new TextEncoder().encode(suffix);
}

/** The suffixes that the reader looks for in every inode. */
const METACOPY_SUFFIX = suffixBytes("overlay.metacopy");
const REDIRECT_SUFFIX = suffixBytes("overlay.redirect");
const WHITEOUT_SUFFIX = suffixBytes("overlay.overlay.whiteout");

/**
 * Walks the extended attributes of one inode, shared ones first, without allocating. It may be
 * opened again for another inode.
 */
export class XattrCursor {
  readonly #image: ErofsImage;
  #reference = 0;
  #references = 0;
  #position = 0;
  #end = 0;
  /** Offset in the image of a shared entry, -1 for an entry of the inode's own; bytes. */
  shared = -1;
  /** Offset of the current entry in the image, bytes. */
  offset = 0;
  /** Name prefix. */
  index = 0;
  /** Offset of the name's suffix, bytes. */
  suffixStart = 0;
  /** Offset of the value, bytes. */
  valueStart = 0;
  /** End of the value, bytes. */
  valueEnd = 0;

  /** Creates a cursor that points nowhere yet. */
  constructor(image: ErofsImage) {
    this.#image = image;
  }

  /**
   * Starts with the attributes of `inode`.
   *
   * @throws {FormatError} `Offset out of bounds`
   */
  open(inode: InodeCursor): void {
    this.#references = 0;
    this.#position = this.#end = inode.tailOffset;
    if (inode.xattrSize === 0) return;
    const at = inode.xattrOffset;
    this.#references = this.#image.bytes[at + XATTR_HEADER.sharedCount[0]]!;
    this.#reference = at + XATTR_HEADER_SIZE;
    this.#position = this.#reference + this.#references * XATTR_REFERENCE_SIZE;
    if (this.#position > this.#end) throw outOfBounds(at);
  }

  /**
   * Moves to the next attribute.
   *
   * @returns false at the end
   * @throws {FormatError} `Offset out of bounds`
   */
  next(): boolean {
    const view = this.#image.view;
    if (this.#references > 0) {
      const id = view.getUint32(this.#reference, true);
      this.#references--;
      this.#reference += XATTR_REFERENCE_SIZE;
      this.shared = this.#image.xattrsOffset + id * XATTR_UNIT;
      this.#entry(this.shared, view.byteLength);
      return true;
    }
    if (this.#position === this.#end) return false;
    this.shared = -1;
    this.#entry(this.#position, this.#end);
    this.#position = this.offset + this.size;
    return true;
  }

  /**
   * Points at the shared attribute at an offset in the image; there is no next one.
   *
   * @throws {FormatError} `Offset out of bounds`
   */
  openShared(offset: number): void {
    this.#references = 0;
    this.#position = this.#end = offset;
    this.shared = offset;
    this.#entry(offset, this.#image.view.byteLength);
  }

  #entry(at: number, limit: number): void {
    if (at + XATTR_ENTRY_SIZE > limit) throw outOfBounds(at);
    const { bytes, view } = this.#image;
    this.offset = at;
    this.index = bytes[at + XATTR_ENTRY.nameIndex[0]]!;
    this.suffixStart = at + XATTR_ENTRY_SIZE;
    this.valueStart = this.suffixStart + bytes[at + XATTR_ENTRY.nameLength[0]]!;
    this.valueEnd = this.valueStart + view.getUint16(at + XATTR_ENTRY.valueLength[0], true);
    if (at + this.size > limit) throw outOfBounds(at);
  }

  /** Size of the current entry with its padding, bytes. */
  get size(): number {
    return Math.ceil((this.valueEnd - this.offset) / XATTR_UNIT) * XATTR_UNIT;
  }

  /**
   * The full name of the current attribute.
   *
   * @throws {FormatError} `Invalid image: xattr name_index N out of range`
   */
  get name(): ByteString {
    const prefix = XATTR_PREFIXES[this.index];
    if (prefix === undefined) {
      throw invalidImage(`xattr name_index ${this.index} out of range`, this.offset);
    }
    return prefix + toByteString(this.#image.bytes.subarray(this.suffixStart, this.valueStart));
  }

  /** The value of the current attribute as a view of the image. */
  get value(): Uint8Array {
    return this.#image.bytes.subarray(this.valueStart, this.valueEnd);
  }

  /** Whether this is `trusted.overlay.metacopy`. */
  get isMetacopy(): boolean {
    return this.#isTrusted(METACOPY_SUFFIX);
  }

  /** Whether this is `trusted.overlay.redirect`. */
  get isRedirect(): boolean {
    return this.#isTrusted(REDIRECT_SUFFIX);
  }

  /** Whether this is the mark of an escaped whiteout, `trusted.overlay.overlay.whiteout`. */
  get isWhiteoutMark(): boolean {
    return this.#isTrusted(WHITEOUT_SUFFIX);
  }

  #isTrusted(suffix: Uint8Array): boolean {
    const length = suffix.length;
    if (this.index !== TRUSTED || this.valueStart - this.suffixStart !== length) return false;
    const bytes = this.#image.bytes;
    // From the end: the suffixes share their beginnings.
    for (let i = length - 1; i >= 0; i--) {
      if (bytes[this.suffixStart + i] !== suffix[i]) return false;
    }
    return true;
  }
}
