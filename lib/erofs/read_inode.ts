/**
 * Reading inodes (spec: erofs 4.6, 5.2).
 *
 * @module
 */
import { FormatError } from "../base/mod.ts";
import {
  CHUNK_ADDRESS_SIZE,
  FORMAT_EXTENDED,
  FORMAT_LAYOUT_MASK,
  INODE_COMPACT,
  INODE_COMPACT_SIZE,
  INODE_EXTENDED,
  INODE_EXTENDED_SIZE,
  INODE_SLOT,
  LAYOUT_CHUNK,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  S_IF,
  S_IFMT,
  XATTR_HEADER_SIZE,
  XATTR_UNIT,
} from "./layout.ts";
import { type ErofsImage, invalidImage } from "./read.ts";

const TWO_32 = 4294967296;

/** An inode number that is not in the image. */
export function invalidInode(nid: number | bigint): FormatError {
  return new FormatError("erofs", `Invalid inode: ${nid}`);
}

/** One inode, reused: its fields hold until the next {@linkcode InodeCursor.load}. */
export class InodeCursor {
  readonly #image: ErofsImage;
  /** Inode number. */
  nid = 0;
  /** Offset of the inode in the image, bytes. */
  offset = 0;
  /** 32 (compact) or 64 (extended) bytes. */
  headerSize: number = INODE_COMPACT_SIZE;
  /** Data layout: plain, inline or chunk. */
  layout: number = LAYOUT_PLAIN;
  /** Type and permissions. */
  mode = 0;
  /** Number of links. */
  nlink = 0;
  /** Size in bytes; inexact above 2^53. */
  size = 0;
  /** First block, device number or chunk format. */
  union = 0;
  /** Owner. */
  uid = 0;
  /** Group. */
  gid = 0;
  /** Size of the extended attributes in bytes, 0 when there are none. */
  xattrSize = 0;
  /** Offset of what follows the extended attributes, bytes. */
  tailOffset = 0;
  /** Size of the inline data in bytes. */
  tailSize = 0;
  /** First data block; see {@linkcode InodeCursor.loadBlocks}. */
  firstBlock = 0;
  /** Number of data blocks; see {@linkcode InodeCursor.loadBlocks}. */
  blockCount = 0;

  /** Creates a cursor that points nowhere yet. */
  constructor(image: ErofsImage) {
    this.#image = image;
  }

  /** The file type bits of the mode. */
  get type(): number {
    return this.mode & S_IFMT;
  }

  /** Whether this is a directory. */
  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IF.directory;
  }

  /** Whether this is a character device with number 0. */
  get isNativeWhiteout(): boolean {
    return (this.mode & S_IFMT) === S_IF.char && this.union === 0;
  }

  /** Offset of the extended attributes, bytes. */
  get xattrOffset(): number {
    return this.offset + this.headerSize;
  }

  /** End of the inode with its extended attributes and inline data, bytes. */
  get end(): number {
    return this.tailOffset + this.tailSize;
  }

  /** Modification time in seconds. */
  get mtimeSec(): bigint {
    if (this.headerSize === INODE_COMPACT_SIZE) return this.#image.buildTime;
    return this.#image.view.getBigInt64(this.offset + INODE_EXTENDED.mtime[0], true);
  }

  /** Modification time, nanoseconds. */
  get mtimeNsec(): number {
    if (this.headerSize === INODE_COMPACT_SIZE) return this.#image.buildTimeNsec;
    return this.#image.view.getUint32(this.offset + INODE_EXTENDED.mtimeNsec[0], true);
  }

  /**
   * Reads the inode with this number.
   *
   * @throws {FormatError} `Invalid inode: N` when it is not wholly in the image,
   * `Invalid image: invalid data layout in inode format`
   */
  load(nid: number): void {
    const image = this.#image;
    const view = image.view;
    const length = view.byteLength;
    const at = image.inodesOffset + nid * INODE_SLOT;
    if (!(at + INODE_COMPACT_SIZE <= length)) throw invalidInode(nid);
    const format = view.getUint16(at, true);
    const extended = (format & FORMAT_EXTENDED) !== 0;
    const headerSize = extended ? INODE_EXTENDED_SIZE : INODE_COMPACT_SIZE;
    if (at + headerSize > length) throw invalidInode(nid);
    const layout = format & FORMAT_LAYOUT_MASK;
    if (layout > LAYOUT_CHUNK || (layout & 2) !== 0) {
      throw invalidImage("invalid data layout in inode format", at);
    }
    const icount = view.getUint16(at + INODE_COMPACT.icount[0], true);
    this.nid = nid;
    this.offset = at;
    this.headerSize = headerSize;
    this.layout = layout;
    this.mode = view.getUint16(at + INODE_COMPACT.mode[0], true);
    this.union = view.getUint32(at + INODE_COMPACT.u[0], true);
    let low = view.getUint32(at + INODE_COMPACT.size[0], true);
    if (extended) {
      this.size = view.getUint32(at + INODE_EXTENDED.size[0] + 4, true) * TWO_32 + low;
      this.uid = view.getUint32(at + INODE_EXTENDED.uid[0], true);
      this.gid = view.getUint32(at + INODE_EXTENDED.gid[0], true);
      this.nlink = view.getUint32(at + INODE_EXTENDED.nlink[0], true);
    } else {
      this.size = low;
      this.uid = view.getUint16(at + INODE_COMPACT.uid[0], true);
      this.gid = view.getUint16(at + INODE_COMPACT.gid[0], true);
      this.nlink = view.getUint16(at + INODE_COMPACT.nlink[0], true);
    }
    this.xattrSize = icount === 0 ? 0 : XATTR_HEADER_SIZE + (icount - 1) * XATTR_UNIT;
    this.tailOffset = at + headerSize + this.xattrSize;
    // The low half decides, so that a size above 2^53 does not lose it.
    low = image.blockSize < TWO_32 ? low % image.blockSize : this.size % image.blockSize;
    this.tailSize = layout === LAYOUT_INLINE ? low : 0;
    // Format 2 writes no chunk addresses for a file without a digest.
    const addresses = layout === LAYOUT_CHUNK && this.size > 0 && image.isEpoch1;
    const tail = addresses ? CHUNK_ADDRESS_SIZE : this.tailSize;
    if (this.tailOffset + tail > length) throw invalidInode(nid);
    this.firstBlock = 0;
    this.blockCount = 0;
  }

  /** The exact size in bytes, for messages. */
  get exactSize(): bigint {
    if (this.headerSize === INODE_COMPACT_SIZE) return BigInt(this.size);
    return this.#image.view.getBigUint64(this.offset + INODE_EXTENDED.size[0], true);
  }

  /**
   * Finds the data blocks and checks that they are in the image; afterwards
   * {@linkcode InodeCursor.firstBlock} and {@linkcode InodeCursor.blockCount} are set. Chunk-based
   * inodes have none.
   *
   * @throws {FormatError} `Invalid image: inode size …` or `Invalid image: inode block range …`
   */
  loadBlocks(): void {
    const image = this.#image;
    const length = image.bytes.length;
    this.firstBlock = this.union;
    this.blockCount = 0;
    if (this.layout === LAYOUT_CHUNK) return;
    if (this.size > length) {
      throw invalidImage(`inode size ${this.exactSize} exceeds image size ${length}`, this.offset);
    }
    const blocks = this.size / image.blockSize;
    this.blockCount = this.layout === LAYOUT_PLAIN ? Math.ceil(blocks) : Math.floor(blocks);
    if (this.blockCount === 0) return;
    const total = Math.floor(length / image.blockSize);
    const end = this.firstBlock + this.blockCount;
    if (end > total) {
      throw invalidImage(
        `inode block range ${this.firstBlock}..${end} exceeds image (${total} blocks)`,
        this.offset,
      );
    }
  }
}
