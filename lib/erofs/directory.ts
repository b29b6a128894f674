/**
 * Reading directories (spec: erofs 4.5, 5.2).
 *
 * @module
 */
import { type ByteString, toByteString } from "../base/mod.ts";
import { DIRENT, DIRENT_SIZE, LAYOUT_CHUNK } from "./layout.ts";
import { type ErofsImage, invalidImage, outOfBounds } from "./read.ts";
import { type InodeCursor, invalidInode } from "./read_inode.ts";

const DOT = 0x2e;

/**
 * Walks the entries of one directory, block by block and then the tail, without allocating. It may
 * be opened again for another directory. Bounds are checked; whether the names make sense and are
 * sorted is for the caller to decide.
 */
export class DirectoryCursor {
  readonly #image: ErofsImage;
  #nextBlock = 0;
  #blocksLeft = 0;
  #blockBytesLeft = 0;
  #tailOffset = 0;
  #tailSize = 0;
  #start = 0;
  #end = 0;
  #count = 0;
  #index = 0;
  #inTail = false;
  /** Inode number of the current entry. */
  nid = 0;
  /** Offset in the image of the current entry, bytes. */
  offset = 0;
  /** File type of the current entry. */
  type = 0;
  /** Offset in the image of the current name, bytes. */
  nameStart = 0;
  /** Offset in the image of the end of the current name, bytes. */
  nameEnd = 0;
  /**
   * Whether something follows the NUL that ends the current name: any byte in the tail, which has
   * no padding, and a byte other than zero in a block.
   */
  hasJunk = false;

  /** Creates a cursor that points nowhere yet. */
  constructor(image: ErofsImage) {
    this.#image = image;
  }

  /**
   * Starts with the directory that `inode` points at.
   *
   * @throws {FormatError} when its blocks are not in the image
   */
  open(inode: InodeCursor): void {
    inode.loadBlocks();
    if (inode.layout === LAYOUT_CHUNK) throw outOfBounds(inode.offset);
    this.#nextBlock = inode.firstBlock;
    this.#blocksLeft = inode.blockCount;
    this.#blockBytesLeft = inode.size - inode.tailSize;
    this.#tailOffset = inode.tailOffset;
    this.#tailSize = inode.tailSize;
    this.#count = 0;
    this.#index = 0;
    this.#inTail = false;
  }

  /**
   * Starts with one block or tail of a directory, at `bytes[start, end)`; nothing is read yet.
   */
  openPart(start: number, end: number): void {
    this.#blocksLeft = 0;
    this.#tailOffset = start;
    this.#tailSize = end - start;
    this.#count = 0;
    this.#index = 0;
    this.#inTail = false;
  }

  /** Moves to the next part that holds entries; false when there is none. */
  #nextPart(): boolean {
    const image = this.#image;
    if (this.#blocksLeft > 0) {
      this.#start = this.#nextBlock * image.blockSize;
      this.#end = this.#start + Math.min(image.blockSize, this.#blockBytesLeft);
      this.#nextBlock++;
      this.#blocksLeft--;
      this.#blockBytesLeft -= image.blockSize;
    } else if (this.#tailSize > 0) {
      this.#start = this.#tailOffset;
      this.#end = this.#start + this.#tailSize;
      this.#tailSize = 0;
      this.#inTail = true;
    } else {
      return false;
    }
    if (this.#end - this.#start < DIRENT_SIZE) throw outOfBounds(this.#start);
    const first = image.view.getUint16(this.#start + DIRENT.nameOffset[0], true);
    if (first === 0 || first % DIRENT_SIZE !== 0) {
      throw invalidImage("invalid directory entry name_offset", this.#start);
    }
    if (first > this.#end - this.#start) throw outOfBounds(this.#start);
    this.#count = first / DIRENT_SIZE;
    this.#index = 0;
    return true;
  }

  /**
   * Moves to the next entry.
   *
   * @returns false at the end
   * @throws {FormatError} `Offset out of bounds`, `Invalid inode: N` for a number of more than 32
   * bits, `Invalid image: invalid directory entry name_offset`
   */
  next(): boolean {
    if (this.#index === this.#count && !this.#nextPart()) return false;
    const { bytes, view } = this.#image;
    const at = this.#start + this.#index * DIRENT_SIZE;
    const nid = at + DIRENT.nid[0];
    if (view.getUint32(nid + 4, true) !== 0) throw invalidInode(view.getBigUint64(nid, true));
    this.nid = view.getUint32(nid, true);
    this.type = bytes[at + DIRENT.type[0]]!;
    this.offset = at;
    this.#index++;
    const limit = this.#end;
    const start = this.#start + view.getUint16(at + DIRENT.nameOffset[0], true);
    this.hasJunk = false;
    let end: number;
    if (this.#index < this.#count) {
      end = this.#start + view.getUint16(at + DIRENT_SIZE + DIRENT.nameOffset[0], true);
      if (start > end || end > limit) throw outOfBounds(at);
    } else {
      if (start > limit) throw outOfBounds(at);
      end = start;
      while (end < limit && bytes[end] !== 0) end++;
      for (let i = end; i < limit; i++) {
        if (bytes[i] !== 0 || this.#inTail) {
          this.hasJunk = true;
          break;
        }
      }
    }
    this.nameStart = start;
    this.nameEnd = end;
    return true;
  }

  /** Whether the current entry is `.`. */
  get isDot(): boolean {
    return this.nameEnd - this.nameStart === 1 && this.#image.bytes[this.nameStart] === DOT;
  }

  /** Whether the current entry is `..`. */
  get isDotDot(): boolean {
    return this.nameEnd - this.nameStart === 2 && this.#image.bytes[this.nameStart] === DOT &&
      this.#image.bytes[this.nameStart + 1] === DOT;
  }

  /** The current name. */
  get name(): ByteString {
    return toByteString(this.#image.bytes.subarray(this.nameStart, this.nameEnd));
  }
}

function isLowerHexDigit(unit: number): boolean {
  return (unit >= 0x30 && unit <= 0x39) || (unit >= 0x61 && unit <= 0x66);
}

/** Whether `bytes[start, end)` is a name of two lower-case hex digits, as root stubs have. */
export function isStubName(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 2 && isLowerHexDigit(bytes[start]!) && isLowerHexDigit(bytes[start + 1]!);
}
