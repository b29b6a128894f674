/**
 * The file tree of an image in memory (spec: erofs 1.1).
 *
 * @module
 */
import type { ByteString, ObjectId } from "../base/mod.ts";

/** Extended attributes by name; replaced as a whole, never changed in place. */
export type Xattrs = ReadonlyMap<ByteString, ByteString>;

/** No extended attributes; shared, so that most inodes allocate nothing. */
export const NO_XATTRS: Xattrs = new Map();

/** Ownership, permissions and times of an inode. Shared between nodes only if never changed. */
export interface Stat {
  /** The 12 permission bits (`0o7777`); the type is the node's. */
  mode: number;
  /** Owner, u32. */
  uid: number;
  /** Group, u32. */
  gid: number;
  /** Modification time, whole seconds, i64. */
  mtimeSec: bigint;
  /** Modification time, nanoseconds below 10^9. */
  mtimeNsec: number;
  /** Extended attributes. */
  xattrs: Xattrs;
}

/** What a leaf holds. Sizes are in bytes, at most 2^53. */
export type LeafContent =
  | { readonly type: "inline"; readonly data: Uint8Array }
  | { readonly type: "external"; readonly digest: ObjectId; readonly size: number }
  | { readonly type: "external-no-verity"; readonly digest: ObjectId; readonly size: number }
  | { readonly type: "sparse"; readonly size: number }
  | { readonly type: "symlink"; readonly target: ByteString }
  | { readonly type: "block" | "char"; readonly rdev: number }
  | { readonly type: "fifo" }
  | { readonly type: "socket" };

/** Anything but a directory. Two names that hold the same `Leaf` object are hard links. */
export class Leaf {
  /** Discriminates {@linkcode Node}. */
  readonly kind = "leaf";
  /** Metadata. */
  stat: Stat;
  /** Content. */
  content: LeafContent;

  /** Creates a leaf. */
  constructor(stat: Stat, content: LeafContent) {
    this.stat = stat;
    this.content = content;
  }

  /** Whether this is an overlay whiteout: a character device with number 0. */
  get isWhiteout(): boolean {
    return this.content.type === "char" && this.content.rdev === 0;
  }
}

/** A directory: names to nodes. */
export class Directory {
  /** Discriminates {@linkcode Node}. */
  readonly kind = "directory";
  /** Metadata. */
  stat: Stat;
  /** Entries in no particular order; outputs sort them by bytes. */
  readonly entries: Map<ByteString, Node> = new Map();

  /** Creates an empty directory. */
  constructor(stat: Stat) {
    this.stat = stat;
  }

  /** The entries in unsigned byte order of their names. */
  sorted(): [ByteString, Node][] {
    // Byte strings compare by units, and each unit is a byte: this is byte order.
    return this.sortedNames().map((name) => [name, this.entries.get(name)!]);
  }

  /** The names in unsigned byte order. */
  sortedNames(): ByteString[] {
    const names = [...this.entries.keys()];
    // Most inputs arrive sorted, and looking is several times cheaper than sorting again.
    for (let i = 1; i < names.length; i++) {
      if (names[i - 1]! > names[i]!) return names.sort();
    }
    return names;
  }
}

/** A directory or a leaf. */
export type Node = Directory | Leaf;
