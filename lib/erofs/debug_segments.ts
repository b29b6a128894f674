/**
 * The parts of an image, found by walking from the root (spec: erofs 5.6).
 *
 * @module
 */
import type { ByteString } from "../base/mod.ts";
import { Claims } from "./claims.ts";
import { DirectoryCursor } from "./directory.ts";
import {
  CHUNK_ADDRESS_SIZE,
  COMPOSEFS_HEADER_SIZE,
  INODE_COMPACT_SIZE,
  LAYOUT_CHUNK,
  SUPERBLOCK_OFFSET,
  SUPERBLOCK_SIZE,
} from "./layout.ts";
import { type ErofsImage, invalidImage } from "./read.ts";
import { InodeCursor } from "./read_inode.ts";
import { XattrCursor } from "./read_xattrs.ts";

/** Kinds of parts, in the words of the dump's statistics. */
export type SegmentKind =
  | "header"
  | "superblock"
  | "compact inode"
  | "extended inode"
  | "shared xattr"
  | "data block"
  | "directory block";

/** One part of an image. */
export interface Segment {
  /** Where it starts, bytes. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly size: number;
  /** What it is. */
  readonly kind: SegmentKind;
  /** The paths that lead to it; resolved by {@linkcode Segments.path}. */
  readonly paths: number[];
}

/** The longest path that is shown, bytes; Linux has none that are longer. */
const MAX_PATH = 4096;
/** Parts may overlap here, but not without end. */
const OVERLAP = 8;
/** The smallest block size of EROFS, bytes; smaller ones would make a part of every byte. */
const MIN_BLOCK_SIZE = 512;

/** Where the inline data of an inode ends: the array of chunk addresses counts as such. */
export function inodeEnd(image: ErofsImage, inode: InodeCursor): number {
  if (inode.layout !== LAYOUT_CHUNK) return inode.end;
  return Math.min(inode.tailOffset + CHUNK_ADDRESS_SIZE, image.bytes.length);
}

/** The parts of one image. */
export class Segments {
  readonly #image: ErofsImage;
  readonly #claims: Claims;
  readonly #inode: InodeCursor;
  readonly #entries: DirectoryCursor;
  readonly #xattrs: XattrCursor;
  readonly #found = new Map<number, Segment>();
  // A path is the index of its parent and a name, so that deep trees do not cost their square.
  readonly #parents: number[] = [0];
  readonly #names: ByteString[] = [""];
  readonly #lengths: number[] = [0];
  readonly #nids: number[];

  /**
   * Finds the parts.
   *
   * @throws {FormatError} when the image is not readable
   */
  constructor(image: ErofsImage) {
    if (image.blockSize < MIN_BLOCK_SIZE) {
      throw invalidImage(`block size ${image.blockSize} is too small`);
    }
    this.#image = image;
    this.#claims = new Claims(image, OVERLAP);
    this.#inode = new InodeCursor(image);
    this.#entries = new DirectoryCursor(image);
    this.#xattrs = new XattrCursor(image);
    this.#nids = [image.rootNid];
    this.#found.set(0, { offset: 0, size: COMPOSEFS_HEADER_SIZE, kind: "header", paths: [] });
    this.#found.set(SUPERBLOCK_OFFSET, {
      offset: SUPERBLOCK_OFFSET,
      size: SUPERBLOCK_SIZE,
      kind: "superblock",
      paths: [],
    });
    const stack = [0];
    for (let path = stack.pop(); path !== undefined; path = stack.pop()) this.#visit(path, stack);
  }

  /** The parts in the order of their offsets. */
  sorted(): Segment[] {
    return [...this.#found.values()].sort((a, b) => a.offset - b.offset);
  }

  /** A path of a segment. */
  path(index: number): ByteString {
    if (index === 0) return "/";
    const names: ByteString[] = [];
    for (let at = index; at !== 0; at = this.#parents[at]!) names.push(this.#names[at]!);
    return "/" + names.reverse().join("/");
  }

  /** Notes a part; true when it was known already. */
  #note(offset: number, size: number, part: { kind: SegmentKind; path: number }): boolean {
    const known = this.#found.get(offset);
    if (known === undefined) {
      this.#found.set(offset, { offset, size, kind: part.kind, paths: [part.path] });
      return false;
    }
    if (known.kind !== part.kind || known.size !== size) {
      throw invalidImage(
        `conflicting segments at offset 0x${offset.toString(16)}: ${known.kind} and ${part.kind}`,
        offset,
      );
    }
    known.paths.push(part.path);
    return true;
  }

  #visit(path: number, stack: number[]): void {
    const inode = this.#inode;
    const image = this.#image;
    inode.load(this.#nids[path]!);
    const size = inodeEnd(image, inode) - inode.offset;
    const kind = inode.headerSize === INODE_COMPACT_SIZE ? "compact inode" : "extended inode";
    if (this.#note(inode.offset, size, { kind, path })) return;
    this.#claims.spend(size);
    const xattrs = this.#xattrs;
    xattrs.open(inode);
    while (xattrs.next() && xattrs.shared >= 0) {
      this.#note(xattrs.offset, xattrs.size, { kind: "shared xattr", path });
    }
    inode.loadBlocks();
    this.#claims.spend(inode.blockCount * image.blockSize);
    if (inode.isDirectory && inodeEnd(image, inode) > inode.tailOffset) {
      this.#entriesOf(inode.tailOffset, inodeEnd(image, inode), { path, stack });
    }
    const blockKind = inode.isDirectory ? "directory block" : "data block";
    for (let i = 0; i < inode.blockCount; i++) {
      const start = (inode.firstBlock + i) * image.blockSize;
      if (inode.isDirectory) this.#entriesOf(start, start + image.blockSize, { path, stack });
      this.#note(start, image.blockSize, { kind: blockKind, path });
    }
  }

  #entriesOf(start: number, end: number, to: { path: number; stack: number[] }): void {
    const entries = this.#entries;
    entries.openPart(start, end);
    while (entries.next()) {
      if (entries.isDot || entries.isDotDot) continue;
      const length = this.#lengths[to.path]! + 1 + entries.nameEnd - entries.nameStart;
      if (length > MAX_PATH) throw invalidImage(`path of more than ${MAX_PATH} bytes`, start);
      this.#parents.push(to.path);
      this.#names.push(entries.name);
      this.#lengths.push(length);
      to.stack.push(this.#nids.push(entries.nid) - 1);
    }
  }
}
