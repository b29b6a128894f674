import type { ByteString } from "../base/mod.ts";
import {
  type Directory,
  Leaf,
  NO_XATTRS,
  type Node,
  type Stat,
  type TreeNotes,
  whiteoutLinkError,
} from "../tree/mod.ts";
import { DIRENT_TYPE } from "./layout.ts";

/** What an inode is on disk. */
export const KIND = {
  /** A file, device, link: as in the tree. */
  node: 0,
  /** One of the whiteouts that formats 0 and 1 add to the root. */
  stub: 1,
  /** A whiteout of the tree that is written as a regular file. */
  escapedWhiteout: 2,
} as const;

/** Rules that decide which inodes there are. */
export interface CollectRules {
  /** Whether the image has format 2. */
  readonly v2: boolean;
  /** Whether C's rules apply where the implementations differ. */
  readonly c: boolean;
  /** What the dumpfile said, for C's rules. */
  readonly notes: TreeNotes | undefined;
}

/** Number of root stubs, one a byte. */
const STUBS = 256;
const STUB_MODE = 0o644;
const SELINUX = "security.selinux";

/** Rows are made for this many inodes or entries at first, and doubled when they are full. */
const INITIAL_ROWS = 1024;

function doubled<T extends Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(old: T): T {
  const next = new (old.constructor as new (length: number) => T)(old.length * 2);
  next.set(old);
  return next;
}

/**
 * The inodes of an image by number, in depth-first order, and the entries of its directories in
 * columns, so that an entry costs no object.
 */
export class Inodes {
  /** The node of each inode. */
  readonly nodes: Node[] = [];
  /** {@linkcode KIND} of each. */
  kinds: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_ROWS);
  /** Type in directory entries of each (`DIRENT_TYPE`). */
  types: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_ROWS);
  /** For directories: 1 if they hold a whiteout that is written as a file. */
  holdsWhiteout: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_ROWS);
  /** Link count of each. */
  links: Int32Array<ArrayBuffer> = new Int32Array(INITIAL_ROWS);
  /** Directory in which each was first met; the root's is itself. */
  parents: Int32Array<ArrayBuffer> = new Int32Array(INITIAL_ROWS);
  /** For directories: where their entries start in the columns below; 0 for others. */
  entryStart: Int32Array<ArrayBuffer> = new Int32Array(INITIAL_ROWS);
  /** For directories: where their entries end; 0 for others, which have none. */
  entryEnd: Int32Array<ArrayBuffer> = new Int32Array(INITIAL_ROWS);
  /** Names of all entries, with `.` and `..`, each directory's in byte order. */
  readonly names: ByteString[] = [];
  /** Inode of each entry. */
  targets: Int32Array<ArrayBuffer> = new Int32Array(INITIAL_ROWS);

  /** The path of the first name of an inode, for messages. */
  path(inode: number): ByteString {
    const parts: ByteString[] = [];
    for (let at = inode; at !== 0; at = this.parents[at]!) {
      const parent = this.parents[at]!;
      for (let i = this.entryStart[parent]!; i < this.entryEnd[parent]!; i++) {
        const name = this.names[i]!;
        if (this.targets[i] === at && name !== "." && name !== "..") {
          parts.push(name);
          break;
        }
      }
    }
    return "/" + parts.reverse().join("/");
  }

  /** Adds an inode; returns its number. */
  add(node: Node, parent: number, shape: { kind: number; type: number }): number {
    const inode = this.nodes.length;
    if (inode === this.kinds.length) this.#grow();
    this.nodes.push(node);
    this.kinds[inode] = shape.kind;
    this.types[inode] = shape.type;
    this.links[inode] = 1;
    this.parents[inode] = parent;
    return inode;
  }

  #grow(): void {
    this.kinds = doubled(this.kinds);
    this.types = doubled(this.types);
    this.holdsWhiteout = doubled(this.holdsWhiteout);
    this.links = doubled(this.links);
    this.parents = doubled(this.parents);
    this.entryStart = doubled(this.entryStart);
    this.entryEnd = doubled(this.entryEnd);
  }

  /** Adds an entry to the directory that was added last. */
  addEntry(name: ByteString, target: number): void {
    const at = this.names.length;
    if (at === this.targets.length) this.targets = doubled(this.targets);
    this.names.push(name);
    this.targets[at] = target;
  }
}

function direntType(leaf: Leaf): number {
  switch (leaf.content.type) {
    case "symlink":
      return DIRENT_TYPE.symlink;
    case "block":
      return DIRENT_TYPE.block;
    case "char":
      return DIRENT_TYPE.char;
    case "fifo":
      return DIRENT_TYPE.fifo;
    case "socket":
      return DIRENT_TYPE.socket;
    default:
      return DIRENT_TYPE.regular;
  }
}

/** The whiteouts that formats 0 and 1 add to the root, by name (spec: erofs 4.3). */
function rootStubs(root: Directory): Map<ByteString, Leaf> {
  const label = root.stat.xattrs.get(SELINUX);
  const stat: Stat = {
    ...root.stat,
    mode: STUB_MODE,
    xattrs: label === undefined ? NO_XATTRS : new Map([[SELINUX, label]]),
  };
  const stubs = new Map<ByteString, Leaf>();
  for (let i = 0; i < STUBS; i++) {
    const name = i.toString(16).padStart(2, "0");
    if (!root.entries.has(name)) stubs.set(name, new Leaf(stat, { type: "char", rdev: 0 }));
  }
  return stubs;
}

/** Whether a whiteout in the root cannot be told from a stub (spec: erofs 4.3). */
function looksLikeStub(name: ByteString, leaf: Leaf, root: Stat): boolean {
  const { stat } = leaf;
  const label = root.xattrs.get(SELINUX);
  return /^[0-9a-f]{2}$/.test(name) && stat.mode === STUB_MODE && stat.uid === root.uid &&
    stat.gid === root.gid && stat.mtimeSec === root.mtimeSec &&
    stat.mtimeNsec === root.mtimeNsec && stat.xattrs.get(SELINUX) === label &&
    stat.xattrs.size === (label === undefined ? 0 : 1);
}

/** Position of the first name that is not less than `name`. */
function lowerBound(names: readonly ByteString[], name: ByteString): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (names[middle]! < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A name that no directory can hold; the writer completes it with the path. */
export class NameFault extends Error {
  /** Inode of the directory. */
  readonly directory: number;

  /** Creates a fault about an entry of a directory. */
  constructor(message: string, directory: number) {
    super(message);
    this.directory = directory;
  }
}

/**
 * Numbers the inodes of a tree depth-first and flattens its directories (spec: erofs 4.2, 4.3).
 *
 * @throws {NameFault} for an entry called `.` or `..`, or a directory with two names
 * @throws {FormatError} when a whiteout has more than one name
 */
export function collectInodes(root: Directory, rules: CollectRules): Inodes {
  const inodes = new Inodes();
  const leaves = new Map<Leaf, number>();
  const directories = new Set<Directory>([root]);
  const stubs = rules.v2 ? new Map<ByteString, Leaf>() : rootStubs(root);
  const directory = { kind: KIND.node, type: DIRENT_TYPE.directory };
  inodes.add(root, 0, directory);
  open(inodes, 0, stubs);
  const { names } = inodes;
  const stack: number[] = [0];
  const cursors: number[] = [inodes.entryStart[0]!];
  while (stack.length > 0) {
    const top = stack.length - 1;
    const current = stack[top]!;
    const at = cursors[top]!;
    if (at === inodes.entryEnd[current]!) {
      stack.pop();
      cursors.pop();
      continue;
    }
    cursors[top] = at + 1;
    if (inodes.targets[at]! >= 0) continue; // `.` or `..`
    const name = names[at]!;
    const { entries } = inodes.nodes[current] as Directory;
    const node = entries.get(name) ?? stubs.get(name)!;
    if (node.kind === "directory") {
      if (directories.has(node)) {
        throw new NameFault("holds a directory that is elsewhere in the tree", current);
      }
      directories.add(node);
      const child = inodes.add(node, current, directory);
      inodes.links[current]!++;
      inodes.targets[at] = child;
      open(inodes, child, undefined);
      stack.push(child);
      cursors.push(inodes.entryStart[child]!);
      continue;
    }
    const known = leaves.get(node);
    if (known !== undefined) {
      if (node.isWhiteout) throw whiteoutLinkError();
      inodes.links[known]!++;
      inodes.targets[at] = known;
      continue;
    }
    const shape = { kind: KIND.node as number, type: direntType(node) };
    if (node.isWhiteout && !rules.v2) {
      const isStub = current === 0 &&
        (!entries.has(name) || (!rules.c && looksLikeStub(name, node, root.stat)));
      shape.kind = isStub ? KIND.stub : KIND.escapedWhiteout;
      if (!isStub) {
        shape.type = DIRENT_TYPE.regular;
        inodes.holdsWhiteout[current] = 1;
      }
    }
    const leaf = inodes.add(node, current, shape);
    leaves.set(node, leaf);
    inodes.targets[at] = leaf;
  }
  return inodes;
}

/** Adds the entries of a directory to the columns; their inodes are filled in later. */
function open(
  inodes: Inodes,
  inode: number,
  stubs: ReadonlyMap<ByteString, Leaf> | undefined,
): void {
  let sorted = (inodes.nodes[inode] as Directory).sortedNames();
  if (stubs !== undefined && stubs.size > 0) sorted = [...sorted, ...stubs.keys()].sort();
  inodes.entryStart[inode] = inodes.names.length;
  inodes.links[inode] = 2;
  const self = lowerBound(sorted, ".");
  const parent = lowerBound(sorted, "..");
  if (sorted[self] === "." || sorted[parent] === "..") {
    throw new NameFault("has an entry called . or ..", inode);
  }
  for (let i = 0; i <= sorted.length; i++) {
    if (i === self) inodes.addEntry(".", inode);
    if (i === parent) inodes.addEntry("..", inodes.parents[inode]!);
    if (i < sorted.length) inodes.addEntry(sorted[i]!, -1);
  }
  inodes.entryEnd[inode] = inodes.names.length;
}

/**
 * The order in which the inodes are written (spec: erofs 4.2): depth-first in format 2, else
 * breadth-first, where a leaf with several names comes when its canonical name's directory does.
 */
export function inodeOrder(inodes: Inodes, rules: CollectRules): Int32Array {
  const count = inodes.nodes.length;
  const order = new Int32Array(count);
  if (rules.v2) {
    for (let i = 0; i < count; i++) order[i] = i;
    return order;
  }
  const { targets, entryStart, entryEnd, links, parents, types } = inodes;
  const owners = rules.c && rules.notes !== undefined
    ? ownerEntries(inodes, rules.notes)
    : NO_OWNERS;
  const placed = new Uint8Array(count);
  placed[0] = 1;
  let end = 1;
  // Directories are taken in the order in which they were placed: a second cursor is the queue.
  // `.` and `..` lead to directories that are placed already.
  for (let head = 0; head < end; head++) {
    const current = order[head]!;
    for (let at = entryStart[current]!; at < entryEnd[current]!; at++) {
      const target = targets[at]!;
      if (placed[target] === 1) continue;
      if (types[target] !== DIRENT_TYPE.directory && links[target]! > 1) {
        const owner = owners.get(target);
        if (owner === undefined ? parents[target] !== current : owner !== at) continue;
      }
      placed[target] = 1;
      order[end++] = target;
    }
  }
  return order;
}

const NO_OWNERS: ReadonlyMap<number, number> = new Map();

/** For leaves with several names: the entry that C takes for the canonical one. */
function ownerEntries(inodes: Inodes, notes: TreeNotes): ReadonlyMap<number, number> {
  const wanted = new Map<Directory, number[]>();
  for (let inode = 0; inode < inodes.nodes.length; inode++) {
    const node = inodes.nodes[inode]!;
    if (node.kind === "directory" || inodes.links[inode]! < 2) continue;
    const directory = notes.get(node)?.ownerDirectory;
    if (directory === undefined) continue;
    const list = wanted.get(directory);
    if (list === undefined) wanted.set(directory, [inode]);
    else list.push(inode);
  }
  const owners = new Map<number, number>();
  for (let inode = 0; inode < inodes.nodes.length && wanted.size > 0; inode++) {
    const node = inodes.nodes[inode]!;
    const list = node.kind === "directory" ? wanted.get(node) : undefined;
    if (list === undefined) continue;
    const owned = new Set(list);
    for (let at = inodes.entryStart[inode]!; at < inodes.entryEnd[inode]!; at++) {
      const target = inodes.targets[at]!;
      if (!owned.has(target)) continue;
      if (notes.get(inodes.nodes[target] as Leaf)?.ownerName === inodes.names[at]) {
        owners.set(target, at);
      }
    }
  }
  return owners;
}
