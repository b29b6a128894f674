/**
 * Opening images (spec: erofs 5.1).
 *
 * @module
 */
import { FormatError } from "../base/mod.ts";
import {
  COMPOSEFS_HEADER,
  COMPOSEFS_HEADER_SIZE,
  INODES_OFFSET,
  SUPERBLOCK,
  SUPERBLOCK_OFFSET,
} from "./layout.ts";
import { checkRestricted } from "./restricted.ts";
import type { ErofsVersion } from "./write.ts";

/** The largest image that is read: 1 GiB. */
export const MAX_IMAGE_SIZE = 1073741824;

/** Block sizes of 2^64 and more are refused before anything is computed with them. */
const MAX_BLOCK_BITS = 64;

/** A fault in an image; the message gets the prefix `Invalid image: `. */
export function invalidImage(reason: string, offset?: number): FormatError {
  return new FormatError(
    "erofs",
    `Invalid image: ${reason}`,
    offset === undefined ? undefined : { offset },
  );
}

/** Something in an image that points outside of it. */
export function outOfBounds(offset: number): FormatError {
  return new FormatError("erofs", "Offset out of bounds", { offset });
}

/**
 * An image in memory whose header and superblock were read. Inodes, directories and extended
 * attributes are read when they are asked for. The bytes must not change while it is in use.
 */
export class ErofsImage {
  /** The whole image. */
  readonly bytes: Uint8Array;
  /** The same bytes for reading numbers. */
  readonly view: DataView;
  /** The `composefs_version` of the header; 0, 1 or 2 after {@linkcode openImage}. */
  readonly version: ErofsVersion;
  /** Number of the root directory's inode. */
  readonly rootNid: number;
  /** Block size in bytes; 4096 after {@linkcode openImage}. */
  readonly blockSize: number;
  /** Offset in bytes that inode numbers count from; 0 after {@linkcode openImage}. */
  readonly inodesOffset: number;
  /** Offset in bytes that references to shared extended attributes count from. */
  readonly xattrsOffset: number;
  /** Modification time of compact inodes, seconds. */
  readonly buildTime: bigint;
  /** Modification time of compact inodes, nanoseconds. */
  readonly buildTimeNsec: number;
  /** The number of inodes that the superblock claims. */
  readonly claimedInodes: bigint;
  /** The number of blocks that the superblock claims. */
  readonly claimedBlocks: number;

  /**
   * Reads header and superblock; {@linkcode openImage} also validates them.
   *
   * @throws {FormatError} when they are cut short or point outside of the image
   */
  constructor(bytes: Uint8Array) {
    if (bytes.length > MAX_IMAGE_SIZE) {
      throw invalidImage(`image size ${bytes.length} exceeds maximum ${MAX_IMAGE_SIZE}`);
    }
    if (bytes.length < COMPOSEFS_HEADER_SIZE) throw invalidImage("cannot parse header");
    if (bytes.length < SUPERBLOCK_OFFSET) throw invalidImage("image too small for superblock");
    if (bytes.length < INODES_OFFSET) throw invalidImage("cannot parse superblock");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const at = SUPERBLOCK_OFFSET;
    const bits = view.getUint8(at + SUPERBLOCK.blkszbits[0]);
    if (bits >= MAX_BLOCK_BITS) {
      throw invalidImage(`blkszbits ${bits} >= platform word size ${MAX_BLOCK_BITS}`);
    }
    this.bytes = bytes;
    this.view = view;
    this.version = view.getUint32(COMPOSEFS_HEADER.composefsVersion[0], true) as ErofsVersion;
    this.rootNid = view.getUint16(at + SUPERBLOCK.rootNid[0], true);
    // Not a shift: the result may need more than 31 bits.
    this.blockSize = 2 ** bits;
    this.inodesOffset = view.getUint32(at + SUPERBLOCK.metaBlkaddr[0], true) * this.blockSize;
    this.xattrsOffset = view.getUint32(at + SUPERBLOCK.xattrBlkaddr[0], true) * this.blockSize;
    this.buildTime = view.getBigInt64(at + SUPERBLOCK.buildTime[0], true);
    this.buildTimeNsec = view.getUint32(at + SUPERBLOCK.buildTimeNsec[0], true);
    this.claimedInodes = view.getBigUint64(at + SUPERBLOCK.inos[0], true);
    this.claimedBlocks = view.getUint32(at + SUPERBLOCK.blocks[0], true);
    if (this.inodesOffset > bytes.length) throw outOfBounds(at + SUPERBLOCK.metaBlkaddr[0]);
    if (this.xattrsOffset > bytes.length) throw outOfBounds(at + SUPERBLOCK.xattrBlkaddr[0]);
  }

  /** Whether the image is of the layout family of versions 0 and 1 ("epoch 1"). */
  get isEpoch1(): boolean {
    return this.version !== 2;
  }
}

/**
 * Opens an image and checks that its header and superblock are those of a composefs image
 * (spec: erofs 5.1). Nothing else of the image is looked at yet.
 *
 * @param bytes the whole image; shared with the result, not copied
 * @returns the image
 * @throws {FormatError} with the message `Invalid image: …` or `Offset out of bounds`
 */
export function openImage(bytes: Uint8Array): ErofsImage {
  const image = new ErofsImage(bytes);
  checkRestricted(image.view);
  return image;
}
