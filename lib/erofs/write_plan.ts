/**
 * Where everything goes in an image (spec: erofs 4.6, 4.7): one row of numbers an inode.
 *
 * @module
 */
import { FormatError, UnsupportedError } from "../base/mod.ts";
import type { Directory, Leaf, LeafContent, LeafNotes, Stat } from "../tree/mod.ts";
import {
  BLOCK_SIZE,
  CHUNK_ADDRESS_SIZE,
  DIRENT_SIZE,
  DIRENT_TYPE,
  INODE_COMPACT_SIZE,
  INODE_EXTENDED_SIZE,
  INODE_SLOT,
  INODES_OFFSET,
  LAYOUT_CHUNK,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
} from "./layout.ts";
import { type Inodes, KIND } from "./write_collect.ts";
import { EXTRA, type XattrTable } from "./xattr_table.ts";

/** Rules of the format and the dialect. */
export interface PlanRules {
  /** Format version. */
  readonly version: 0 | 1 | 2;
  /** Whether the image has format 2. */
  readonly v2: boolean;
  /** Whether C's rules apply where the implementations differ. */
  readonly c: boolean;
}

/** Images are kept below this, so that offsets fit in 31 bits; readers refuse 1 GiB already. */
const IMAGE_MAX = 2 ** 31 - BLOCK_SIZE;
/** Directories and files keep at most this many bytes after the inode; more becomes a block. */
const TAIL_MAX = 2048;
const NAME_MAX = 255;
const SYMLINK_MAX = 4095;
/** Readers of format 2 refuse longer inline files and links. */
const V2_INLINE_MAX = 512;
const V2_SYMLINK_MAX = 1024;
const FILE_MAX = 2 ** 53;
const U32_MAX = 2 ** 32 - 1;
const U16_MAX = 65535;
const NSEC_LIMIT = 1_000_000_000;
const CHUNK_BITS_MIN = 12;
const CHUNK_BITS_MAX = 43;
/** What format 2 writes for every chunk-based file: chunks of 2^43 bytes. */
const V2_CHUNK_FORMAT = 31;

/** What is in the data blocks of an inode. */
export const BLOCKS = {
  /** Nothing. */
  none: 0,
  /** Whole blocks of a directory or an inline file; the tail follows the inode. */
  content: 1,
  /** A symbolic link's target that does not fit after its inode. */
  symlink: 2,
  /** Chunk addresses that do not fit after their inode. */
  chunks: 3,
} as const;

/** A fault that is completed with the path of its inode. */
export class InodeFault extends Error {}

/** Rows of numbers, one an inode, indexed by inode number. */
export class ImagePlan {
  /** Number of the attribute plan. */
  readonly xattrPlan: Int32Array;
  /** Digest whose metacopy the inode has, or -1. */
  readonly metacopy: Int32Array;
  /** Digest whose path is the inode's redirect, or -1. */
  readonly redirect: Int32Array;
  /** Size of the attributes in bytes. */
  readonly xattrSize: Int32Array;
  /** 1 for inodes of 64 bytes. */
  readonly extended: Uint8Array;
  /** `LAYOUT_*`. */
  readonly layout: Uint8Array;
  /** Size of the file. */
  readonly size: Float64Array;
  /** Bytes after the inode and its attributes. */
  readonly tail: Int32Array;
  /** Number of data blocks. */
  readonly blocks: Int32Array;
  /** {@linkcode BLOCKS} in them. */
  readonly blockKind: Uint8Array;
  /** First data block. */
  readonly firstBlock: Int32Array;
  /** Device number or chunk format. */
  readonly u: Uint32Array;
  /** Offset of the inode. */
  readonly position: Int32Array;
  /** Least modification time of all inodes, as the dialect compares them. */
  minSec = 0n;
  /** Its nanoseconds. */
  minNsec = 0;
  /** Where the inodes end and the shared attributes start. */
  inodesEnd = 0;
  /** Size of the image in bytes. */
  imageSize = 0;

  /** Creates rows of zeros. */
  constructor(count: number) {
    this.xattrPlan = new Int32Array(count);
    this.metacopy = new Int32Array(count).fill(-1);
    this.redirect = new Int32Array(count).fill(-1);
    this.xattrSize = new Int32Array(count);
    this.extended = new Uint8Array(count);
    this.layout = new Uint8Array(count);
    this.size = new Float64Array(count);
    this.tail = new Int32Array(count);
    this.blocks = new Int32Array(count);
    this.blockKind = new Uint8Array(count);
    this.firstBlock = new Int32Array(count);
    this.u = new Uint32Array(count);
    this.position = new Int32Array(count);
  }
}

function up(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function checkStat(stat: Stat): void {
  if (!(stat.uid >= 0 && stat.uid <= U32_MAX && stat.gid >= 0 && stat.gid <= U32_MAX)) {
    throw new InodeFault("owner does not fit in 32 bits");
  }
  if (!(stat.mtimeNsec >= 0 && stat.mtimeNsec < NSEC_LIMIT)) {
    throw new InodeFault(`invalid nanoseconds ${stat.mtimeNsec}`);
  }
}

/** Whether time `a` comes before time `b`: C compares signed seconds, the other unsigned ones. */
function isBefore(a: Stat, bSec: bigint, options: { bNsec: number; c: boolean }): boolean {
  const { mtimeSec } = a;
  if (mtimeSec === bSec) return a.mtimeNsec < options.bNsec;
  if (!options.c && (mtimeSec < 0n) !== (bSec < 0n)) return bSec < 0n;
  return mtimeSec < bSec;
}

/** log2 of the chunk size of a file (spec: erofs 4.6). */
function chunkBits(size: number): number {
  const last = size - 1;
  let bits: number;
  if (last <= 0) bits = 1;
  else if (last <= U32_MAX) bits = 32 - Math.clz32(last);
  else bits = 64 - Math.clz32(Math.floor(last / 2 ** 32));
  return Math.min(Math.max(bits, CHUNK_BITS_MIN), CHUNK_BITS_MAX);
}

/** Sizes of a leaf's content in the rows. */
function planLeaf(plan: ImagePlan, inode: number, content: LeafContent, rules: PlanRules): void {
  const { layout, size, tail, blocks, blockKind, u } = plan;
  layout[inode] = LAYOUT_PLAIN;
  switch (content.type) {
    case "symlink": {
      const { length } = content.target;
      const limit = rules.v2 ? V2_SYMLINK_MAX : SYMLINK_MAX;
      if (length < 1 || length > limit) {
        throw new InodeFault(`symlink target of ${length} bytes, must be 1 to ${limit}`);
      }
      layout[inode] = LAYOUT_INLINE;
      size[inode] = length;
      tail[inode] = length;
      return;
    }
    case "inline": {
      const { length } = content.data;
      size[inode] = length;
      if (length === 0) return;
      if (rules.v2) {
        if (length > V2_INLINE_MAX) {
          throw new InodeFault(`inline file of ${length} bytes, must be at most ${V2_INLINE_MAX}`);
        }
        layout[inode] = LAYOUT_INLINE;
        tail[inode] = length;
        return;
      }
      splitTail(plan, inode, length % BLOCK_SIZE, Math.floor(length / BLOCK_SIZE));
      return;
    }
    case "external":
    case "external-no-verity":
    case "sparse": {
      if (!(content.size >= 0 && content.size <= FILE_MAX)) {
        throw new InodeFault(`File too large: ${content.size} bytes`);
      }
      size[inode] = content.size;
      if (rules.c && content.size === 0) return;
      layout[inode] = LAYOUT_CHUNK;
      if (rules.v2) {
        u[inode] = V2_CHUNK_FORMAT;
        tail[inode] = content.type === "external" ? CHUNK_ADDRESS_SIZE : 0;
        return;
      }
      const bits = chunkBits(content.size);
      u[inode] = bits - CHUNK_BITS_MIN;
      tail[inode] = CHUNK_ADDRESS_SIZE * Math.ceil(content.size / 2 ** bits);
      return;
    }
    case "block":
    case "char":
      if (!(content.rdev >= 0 && content.rdev <= U32_MAX)) {
        throw new InodeFault(`device number ${content.rdev} does not fit in 32 bits`);
      }
      u[inode] = content.rdev;
      return;
    default:
      blocks[inode] = 0;
      blockKind[inode] = BLOCKS.none;
  }
}

/** Decides whether the last part of a content becomes a block too. */
function splitTail(plan: ImagePlan, inode: number, rest: number, whole: number): void {
  const full = rest > TAIL_MAX;
  const count = full ? whole + 1 : whole;
  const tail = full ? 0 : rest;
  plan.blocks[inode] = count;
  plan.blockKind[inode] = count > 0 ? BLOCKS.content : BLOCKS.none;
  plan.tail[inode] = tail;
  plan.layout[inode] = tail > 0 ? LAYOUT_INLINE : LAYOUT_PLAIN;
}

function planDirectory(plan: ImagePlan, inode: number, inodes: Inodes): void {
  const end = inodes.entryEnd[inode]!;
  let whole = 0;
  let filled = 0;
  for (let at = inodes.entryStart[inode]!; at < end; at++) {
    const { length } = inodes.names[at]!;
    if (length < 1 || length > NAME_MAX) {
      throw new InodeFault(`file name of ${length} bytes, must be 1 to ${NAME_MAX}`);
    }
    filled += DIRENT_SIZE + length;
    if (filled > BLOCK_SIZE) {
      whole++;
      filled = DIRENT_SIZE + length;
    }
  }
  splitTail(plan, inode, filled, whole);
  plan.size[inode] = plan.blocks[inode]! * BLOCK_SIZE + plan.tail[inode]!;
}

/** Attributes that the format adds to a leaf; also decides its redirect. */
function leafXattrs(
  plan: ImagePlan,
  inode: number,
  options: {
    leaf: Leaf;
    note: LeafNotes | undefined;
    kind: number;
    table: XattrTable;
    rules: PlanRules;
  },
): void {
  const { leaf, note, table } = options;
  const { content, stat } = leaf;
  let extras = options.kind === KIND.escapedWhiteout ? EXTRA.whiteout : 0;
  if (content.type === "external" || content.type === "external-no-verity") {
    if (options.rules.c && content.size === 0) {
      plan.xattrPlan[inode] = table.addPlan(stat.xattrs, extras);
      return;
    }
    const verity = content.type === "external";
    const own = note?.redirect === undefined;
    const digest = table.addDigest(content.digest, {
      metacopy: verity ? 1 : 0,
      redirect: own ? 1 : 0,
    });
    if (verity) plan.metacopy[inode] = digest;
    else extras |= EXTRA.emptyMetacopy;
    if (own) plan.redirect[inode] = digest;
  } else if (content.type === "sparse" && !(options.rules.c && content.size === 0)) {
    extras |= EXTRA.emptyMetacopy;
  }
  const redirect = note?.redirect;
  if (redirect === undefined || redirect === null || plan.layout[inode] !== LAYOUT_CHUNK) {
    plan.xattrPlan[inode] = table.addPlan(stat.xattrs, extras);
    return;
  }
  const other = table.digestOfPath(redirect);
  if (other !== undefined) {
    plan.redirect[inode] = table.addDigest(other, { metacopy: 0, redirect: 1 });
    plan.xattrPlan[inode] = table.addPlan(stat.xattrs, extras);
  } else {
    plan.xattrPlan[inode] = table.addPlanWithRedirect(stat.xattrs, extras, "/" + redirect);
  }
}

/** Fills in what an inode is by itself; positions come when all are known. */
export function planInode(
  plan: ImagePlan,
  inode: number,
  context: {
    inodes: Inodes;
    table: XattrTable;
    rules: PlanRules;
    note: LeafNotes | undefined;
  },
): void {
  const { inodes, table, rules } = context;
  const node = inodes.nodes[inode]!;
  checkStat(node.stat);
  const minimum = { bNsec: plan.minNsec, c: rules.c };
  if (inode === 0 || isBefore(node.stat, plan.minSec, minimum)) {
    plan.minSec = node.stat.mtimeSec;
    plan.minNsec = node.stat.mtimeNsec;
  }
  if (inodes.types[inode] === DIRENT_TYPE.directory) {
    planDirectory(plan, inode, inodes);
    let extras = 0;
    if (inodes.holdsWhiteout[inode] === 1) {
      extras |= EXTRA.whiteouts;
      if (rules.version === 1) extras |= EXTRA.opaqueWhiteouts;
    }
    if (inode === 0 && !rules.v2) extras |= EXTRA.rootOpaque;
    plan.xattrPlan[inode] = table.addPlan((node as Directory).stat.xattrs, extras);
    return;
  }
  const leaf = node as Leaf;
  const kind = inodes.kinds[inode]!;
  planLeaf(plan, inode, leaf.content, rules);
  leafXattrs(plan, inode, { leaf, note: context.note, kind, table, rules });
  if (context.note?.nlink !== undefined && rules.c) inodes.links[inode] = context.note.nlink;
}

/** Gives every inode its header, its attributes' size and its place. */
export function placeInodes(
  plan: ImagePlan,
  order: Int32Array,
  context: { inodes: Inodes; table: XattrTable; rules: PlanRules; fail: FailAt },
): void {
  const { inodes, table, rules } = context;
  let at = INODES_OFFSET;
  for (let i = 0; i < order.length; i++) {
    const inode = order[i]!;
    try {
      plan.xattrSize[inode] = table.size(
        plan.xattrPlan[inode]!,
        plan.metacopy[inode]!,
        plan.redirect[inode]!,
      );
    } catch (error) {
      context.fail(error, inode);
    }
    const extended = rules.v2 || !fitsCompact(plan, inode, inodes);
    plan.extended[inode] = extended ? 1 : 0;
    const header = extended ? INODE_EXTENDED_SIZE : INODE_COMPACT_SIZE;
    at = rules.v2 ? placeV2(plan, inode, at, header) : placeV1(plan, inode, {
      at,
      header,
      isSymlink: inodes.types[inode] === DIRENT_TYPE.symlink,
    });
    plan.position[inode] = at;
    at += header + plan.xattrSize[inode]! + plan.tail[inode]!;
    if (at > IMAGE_MAX) throw tooLarge();
  }
  plan.inodesEnd = up(at, INODE_SLOT);
  table.placeTable(plan.inodesEnd);
  let block = Math.ceil((plan.inodesEnd + table.tableSize) / BLOCK_SIZE);
  for (let i = 0; i < order.length; i++) {
    const inode = order[i]!;
    if (plan.blocks[inode]! === 0) continue;
    plan.firstBlock[inode] = block;
    block += plan.blocks[inode]!;
    if (block * BLOCK_SIZE > IMAGE_MAX) throw tooLarge();
  }
  plan.imageSize = block * BLOCK_SIZE;
  if (plan.imageSize > IMAGE_MAX) throw tooLarge();
  if (plan.position[0]! / INODE_SLOT > U16_MAX) {
    throw new FormatError("erofs", "Cannot write image: root inode is too far from the start");
  }
}

/** Completes a fault with the path of an inode, and throws it. */
export type FailAt = (error: unknown, inode: number) => never;

function tooLarge(): UnsupportedError {
  return new UnsupportedError(`Cannot write image: it would be larger than ${IMAGE_MAX} bytes`);
}

function fitsCompact(plan: ImagePlan, inode: number, inodes: Inodes): boolean {
  const { stat } = inodes.nodes[inode]!;
  return stat.mtimeNsec === plan.minNsec && stat.mtimeSec === plan.minSec &&
    inodes.links[inode]! <= U16_MAX && stat.uid <= U16_MAX && stat.gid <= U16_MAX &&
    plan.size[inode]! <= U32_MAX;
}

function placeV1(
  plan: ImagePlan,
  inode: number,
  options: { at: number; header: number; isSymlink: boolean },
): number {
  let at = up(options.at, INODE_SLOT);
  const xattrs = plan.xattrSize[inode]!;
  const meta = options.header + xattrs;
  const tail = plan.tail[inode]!;
  if (options.isSymlink) {
    if (meta + tail >= BLOCK_SIZE) promote(plan, inode, BLOCKS.symlink);
    const last = at + meta + tail - 1;
    return Math.floor(at / BLOCK_SIZE) === Math.floor(last / BLOCK_SIZE) ? at : up(at, BLOCK_SIZE);
  }
  if (plan.layout[inode] === LAYOUT_CHUNK && tail + xattrs % INODE_SLOT > BLOCK_SIZE) {
    promote(plan, inode, BLOCKS.chunks);
    return up(at, BLOCK_SIZE);
  }
  const room = BLOCK_SIZE - (at + meta) % BLOCK_SIZE;
  if (room < tail) at += up(room, INODE_SLOT);
  return at;
}

/** Moves what follows the inode to a block of its own. */
function promote(plan: ImagePlan, inode: number, kind: number): void {
  plan.blocks[inode] = 1;
  plan.blockKind[inode] = kind;
  plan.tail[inode] = 0;
  if (kind === BLOCKS.symlink) plan.layout[inode] = LAYOUT_PLAIN;
}

function placeV2(plan: ImagePlan, inode: number, from: number, header: number): number {
  const at = up(from, INODE_SLOT);
  if (plan.layout[inode] !== LAYOUT_INLINE) return at;
  const last = at + header + plan.xattrSize[inode]! - 1;
  const end = last + 1 + plan.size[inode]! % BLOCK_SIZE;
  if (Math.floor(last / BLOCK_SIZE) === Math.floor(end / BLOCK_SIZE)) return at;
  return up(at + BLOCK_SIZE - last % BLOCK_SIZE, INODE_SLOT);
}
