import {
  type ByteString,
  displayByteString,
  FormatError,
  type HashName,
  UnsupportedError,
  writeByteString,
} from "../base/mod.ts";
import type { FileTree, Leaf, Node, TreeNotes } from "../tree/mod.ts";
import {
  BLOCK_SIZE,
  CHUNK_NULL,
  COMPOSEFS_FLAG_ACL,
  COMPOSEFS_HEADER,
  COMPOSEFS_HEADER_VERSION,
  COMPOSEFS_MAGIC,
  DIRENT,
  DIRENT_SIZE,
  EROFS_MAGIC,
  FEATURE_COMPAT_MTIME,
  FEATURE_COMPAT_XATTR_FILTER,
  FORMAT_EXTENDED,
  INODE_COMPACT,
  INODE_COMPACT_SIZE,
  INODE_EXTENDED,
  INODE_EXTENDED_SIZE,
  INODE_SLOT,
  LAYOUT_CHUNK,
  S_IF,
  SUPERBLOCK,
  SUPERBLOCK_OFFSET,
  XATTR_HEADER_SIZE,
  XATTR_UNIT,
} from "./layout.ts";
import { collectInodes, inodeOrder, type Inodes, KIND, NameFault } from "./write_collect.ts";
import {
  BLOCKS,
  ImagePlan,
  InodeFault,
  placeInodes,
  planInode,
  type PlanRules,
} from "./write_plan.ts";
import { XattrWriteFault } from "./xattr_entry.ts";
import { XattrTable } from "./xattr_table.ts";

/** The composefs versions of the image format. */
export type ErofsVersion = 0 | 1 | 2;

/** Options of {@linkcode writeImage}. */
export interface WriteImageOptions {
  /** Format version (spec: erofs 3). @default 1 */
  version?: ErofsVersion;
  /** Algorithm of the digests in the tree. */
  hash: HashName;
  /**
   * Which reference's bytes to write where the two differ (spec: erofs 6): that of repositories, or
   * that of C's `mkcomposefs`, which follows the notes of a tree parsed in the `c` dialect.
   * Format 2 exists in `rs` only. @default "rs"
   */
  dialect?: "rs" | "c";
}

const PERMISSIONS = 0o7777;
const SLASH = 0x2f;
/** {@linkcode S_IF} by type in directory entries. */
const MODE_OF_TYPE: readonly number[] = [
  0,
  S_IF.regular,
  S_IF.directory,
  S_IF.char,
  S_IF.block,
  S_IF.fifo,
  S_IF.socket,
  S_IF.symlink,
];
/** Images are little-endian, and typed arrays have the order of the host. */
const HOST_IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const WORD = 4;
const HALF = 2;
/** Chunk formats keep the high half of the block number of their promoted array. */
const HALF_RANGE = 0x10000;

/** The half-word index of a field in its structure. */
function half(field: readonly [offset: number, type: string]): number {
  return field[0] / HALF;
}

/** The word index of a field in its structure. */
function word(field: readonly [offset: number, type: string]): number {
  return field[0] / WORD;
}

// Offsets as indices of typed arrays, once: these are the hottest stores.
const FORMAT = half(INODE_COMPACT.format);
const ICOUNT = half(INODE_COMPACT.icount);
const MODE = half(INODE_COMPACT.mode);
const SIZE = word(INODE_COMPACT.size);
const U = word(INODE_COMPACT.u);
const INO = word(INODE_COMPACT.ino);
const COMPACT = {
  nlink: half(INODE_COMPACT.nlink),
  uid: half(INODE_COMPACT.uid),
  gid: half(INODE_COMPACT.gid),
} as const;
const EXTENDED = {
  uid: word(INODE_EXTENDED.uid),
  gid: word(INODE_EXTENDED.gid),
  mtimeNsec: word(INODE_EXTENDED.mtimeNsec),
  nlink: word(INODE_EXTENDED.nlink),
} as const;
const MTIME_OFFSET = INODE_EXTENDED.mtime[0];
const ENTRY = { nid: word(DIRENT.nid), name: half(DIRENT.nameOffset) } as const;
const ENTRY_TYPE = DIRENT.type[0];

/** Writes one image; its parts share the rows and the buffers. */
class ImageWriter {
  readonly #inodes: Inodes;
  readonly #plan: ImagePlan;
  readonly #order: Int32Array;
  readonly #table: XattrTable;
  readonly #rules: PlanRules;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #halves: Uint16Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;

  constructor(tree: FileTree, rules: PlanRules, options: WriteImageOptions) {
    const { hash } = options;
    this.#rules = rules;
    // Redirects of the dumpfile's own are kept in format 2 too, which has no rules of C's.
    const notes = options.dialect === "c" ? tree.notes : undefined;
    const collectRules = { v2: rules.v2, c: rules.c, notes };
    this.#inodes = this.#collect(tree, collectRules);
    this.#order = inodeOrder(this.#inodes, collectRules);
    this.#table = new XattrTable({ v2: rules.v2, c: rules.c, hash });
    this.#plan = new ImagePlan(this.#inodes.nodes.length);
    this.#planAll(notes);
    this.#bytes = allocate(this.#plan.imageSize);
    const { buffer } = this.#bytes;
    this.#halves = new Uint16Array(buffer);
    this.#words = new Uint32Array(buffer);
    this.#view = new DataView(buffer);
  }

  #collect(
    tree: FileTree,
    rules: { v2: boolean; c: boolean; notes: TreeNotes | undefined },
  ): Inodes {
    try {
      return collectInodes(tree.root, rules);
    } catch (error) {
      if (error instanceof NameFault) {
        throw new FormatError("erofs", `Cannot write image: a directory ${error.message}`);
      }
      throw error;
    }
  }

  #planAll(notes: TreeNotes | undefined): void {
    const plan = this.#plan;
    const inodes = this.#inodes;
    const table = this.#table;
    const context = { inodes, table, rules: this.#rules, note: undefined as undefined };
    const fail = (error: unknown, inode: number) => this.#fail(error, inode);
    const { nodes } = inodes;
    for (let inode = 0; inode < nodes.length; inode++) {
      try {
        if (notes === undefined || notes.size === 0) planInode(plan, inode, context);
        else planInode(plan, inode, { ...context, note: notes.get(nodes[inode] as Leaf) });
      } catch (error) {
        fail(error, inode);
      }
    }
    table.seal();
    placeInodes(plan, this.#order, { inodes, table, rules: this.#rules, fail });
  }

  /** Names the inode that a fault is about. */
  #fail(error: unknown, inode: number): never {
    if (error instanceof InodeFault || error instanceof XattrWriteFault) {
      const path = displayByteString(this.#inodes.path(inode));
      throw new FormatError("erofs", `Cannot write "${path}": ${error.message}`);
    }
    throw error;
  }

  write(): Uint8Array<ArrayBuffer> {
    this.#writeHeader();
    this.#writeSuperblock();
    const order = this.#order;
    for (let i = 0; i < order.length; i++) this.#writeInode(order[i]!, i);
    this.#table.writeTable(this.#bytes, this.#plan.inodesEnd);
    return this.#bytes;
  }

  #writeHeader(): void {
    const view = this.#view;
    view.setUint32(COMPOSEFS_HEADER.magic[0], COMPOSEFS_MAGIC, true);
    view.setUint32(COMPOSEFS_HEADER.version[0], COMPOSEFS_HEADER_VERSION, true);
    const acl = this.#table.hasAcl && !this.#rules.v2;
    view.setUint32(COMPOSEFS_HEADER.flags[0], acl ? COMPOSEFS_FLAG_ACL : 0, true);
    view.setUint32(COMPOSEFS_HEADER.composefsVersion[0], this.#rules.version, true);
  }

  #writeSuperblock(): void {
    const view = this.#view;
    const plan = this.#plan;
    const { v2 } = this.#rules;
    const at = (field: readonly [offset: number, type: string]) => SUPERBLOCK_OFFSET + field[0];
    view.setUint32(at(SUPERBLOCK.magic), EROFS_MAGIC, true);
    const features = FEATURE_COMPAT_MTIME + FEATURE_COMPAT_XATTR_FILTER;
    view.setUint32(at(SUPERBLOCK.featureCompat), features, true);
    view.setUint8(at(SUPERBLOCK.blkszbits), Math.log2(BLOCK_SIZE));
    view.setUint16(at(SUPERBLOCK.rootNid), plan.position[0]! / INODE_SLOT, true);
    view.setBigUint64(at(SUPERBLOCK.inos), BigInt(this.#order.length), true);
    if (!v2) {
      view.setBigInt64(at(SUPERBLOCK.buildTime), plan.minSec, true);
      view.setUint32(at(SUPERBLOCK.buildTimeNsec), plan.minNsec, true);
    }
    view.setUint32(at(SUPERBLOCK.blocks), plan.imageSize / BLOCK_SIZE, true);
    const xattrBlock = v2 ? 0 : Math.floor(plan.inodesEnd / BLOCK_SIZE);
    view.setUint32(at(SUPERBLOCK.xattrBlkaddr), xattrBlock, true);
  }

  #writeInode(inode: number, index: number): void {
    const plan = this.#plan;
    const inodes = this.#inodes;
    const halves = this.#halves;
    const words = this.#words;
    const node = inodes.nodes[inode]!;
    const { stat } = node;
    const at = plan.position[inode]!;
    const h = at / HALF;
    const w = at / WORD;
    const extended = plan.extended[inode] === 1;
    const xattrSize = plan.xattrSize[inode]!;
    const size = plan.size[inode]!;
    const isStub = inodes.kinds[inode] === KIND.stub;
    halves[h + FORMAT] = plan.layout[inode]! + (extended ? FORMAT_EXTENDED : 0);
    halves[h + ICOUNT] = xattrSize === 0 ? 0 : 1 + (xattrSize - XATTR_HEADER_SIZE) / XATTR_UNIT;
    halves[h + MODE] = MODE_OF_TYPE[inodes.types[inode]!]! + (stat.mode & PERMISSIONS);
    words[w + U] = this.#u(inode);
    words[w + INO] = this.#rules.v2 ? at / INODE_SLOT : index;
    if (extended) {
      words[w + SIZE] = size % 2 ** 32;
      words[w + SIZE + 1] = Math.floor(size / 2 ** 32);
      words[w + EXTENDED.uid] = stat.uid;
      words[w + EXTENDED.gid] = stat.gid;
      words[w + EXTENDED.nlink] = isStub ? 1 : inodes.links[inode]!;
      this.#view.setBigInt64(at + MTIME_OFFSET, stat.mtimeSec, true);
      if (!this.#rules.v2) words[w + EXTENDED.mtimeNsec] = stat.mtimeNsec;
    } else {
      words[w + SIZE] = size;
      halves[h + COMPACT.nlink] = inodes.links[inode]!;
      halves[h + COMPACT.uid] = stat.uid;
      halves[h + COMPACT.gid] = stat.gid;
    }
    const meta = at + (extended ? INODE_EXTENDED_SIZE : INODE_COMPACT_SIZE);
    if (xattrSize > 0) {
      this.#table.write(
        { out: this.#bytes, words, at: meta },
        plan.xattrPlan[inode]!,
        plan.metacopy[inode]!,
        plan.redirect[inode]!,
      );
    }
    this.#writeData(inode, node, meta + xattrSize);
  }

  #u(inode: number): number {
    const plan = this.#plan;
    const kind = plan.blockKind[inode];
    if (kind === BLOCKS.none) return plan.u[inode]!;
    const block = plan.firstBlock[inode]!;
    if (kind !== BLOCKS.chunks) return block;
    return block - block % HALF_RANGE + plan.u[inode]!;
  }

  /** Writes what follows the inode and its data blocks. */
  #writeData(inode: number, node: Node, tailAt: number): void {
    const plan = this.#plan;
    const blockAt = plan.firstBlock[inode]! * BLOCK_SIZE;
    if (node.kind === "directory") {
      this.#writeEntries(inode, tailAt, blockAt);
      return;
    }
    const { content } = node;
    if (content.type === "symlink") {
      const at = plan.blockKind[inode] === BLOCKS.symlink ? blockAt : tailAt;
      writeByteString(content.target, this.#bytes, at);
    } else if (content.type === "inline") {
      const inBlocks = Math.min(plan.blocks[inode]! * BLOCK_SIZE, content.data.length);
      if (inBlocks > 0) this.#bytes.set(content.data.subarray(0, inBlocks), blockAt);
      if (plan.tail[inode]! > 0) this.#bytes.set(content.data.subarray(inBlocks), tailAt);
    } else if (plan.layout[inode] === LAYOUT_CHUNK) {
      const promoted = plan.blockKind[inode] === BLOCKS.chunks;
      const start = (promoted ? blockAt : tailAt) / WORD;
      const length = promoted ? BLOCK_SIZE : plan.tail[inode]!;
      for (let i = 0; i < length / WORD; i++) this.#words[start + i] = CHUNK_NULL;
    }
  }

  /** Writes a directory's entries: whole blocks first, the rest after the inode. */
  #writeEntries(inode: number, tailAt: number, blockAt: number): void {
    const { names } = this.#inodes;
    const end = this.#inodes.entryEnd[inode]!;
    let first = this.#inodes.entryStart[inode]!;
    for (let block = 0; first < end; block++) {
      let last = first;
      let filled = 0;
      while (last < end) {
        filled += DIRENT_SIZE + names[last]!.length;
        if (filled > BLOCK_SIZE) break;
        last++;
      }
      const isTail = block === this.#plan.blocks[inode]!;
      this.#writeRun(first, last, isTail ? tailAt : blockAt + block * BLOCK_SIZE);
      first = last;
    }
  }

  /** Writes the entries `[first, last)` as one block or tail. */
  #writeRun(first: number, last: number, start: number): void {
    const { names, targets, types } = this.#inodes;
    const { position } = this.#plan;
    const bytes = this.#bytes;
    let entry = start;
    let nameAt = start + (last - first) * DIRENT_SIZE;
    for (let i = first; i < last; i++) {
      const target = targets[i]!;
      this.#words[entry / WORD + ENTRY.nid] = position[target]! / INODE_SLOT;
      this.#halves[entry / HALF + ENTRY.name] = nameAt - start;
      bytes[entry + ENTRY_TYPE] = types[target]!;
      const name = names[i]!;
      for (let k = 0; k < name.length; k++) {
        const unit = name.charCodeAt(k);
        if (unit === SLASH || unit === 0 || unit > 255) throw badName(name);
        bytes[nameAt++] = unit;
      }
      entry += DIRENT_SIZE;
    }
  }
}

function badName(name: ByteString): FormatError {
  const shown = JSON.stringify(name);
  return new FormatError("erofs", `Cannot write image: ${shown} cannot be a file name`);
}

function allocate(size: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(size);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UnsupportedError(`Cannot allocate ${size} bytes for the image`, { cause: error });
  }
}

/**
 * Writes a tree as a composefs image (spec: erofs 4). The same tree and options give the same
 * bytes; whiteouts, stubs and overlay attributes are handled here, not by the caller.
 *
 * @returns the image; its fs-verity digest is the image's id
 * @throws {FormatError} naming the path, for what no image can hold (spec: erofs 8.1)
 * @throws {UnsupportedError} for an image of 2 GiB or more
 */
export function writeImage(tree: FileTree, options: WriteImageOptions): Uint8Array<ArrayBuffer> {
  const version = options.version ?? 1;
  const v2 = version === 2;
  const rules: PlanRules = { version, v2, c: options.dialect === "c" && !v2 };
  if (!HOST_IS_LITTLE_ENDIAN) throw new UnsupportedError("Cannot write images on this processor");
  return new ImageWriter(tree, rules, options).write();
}
