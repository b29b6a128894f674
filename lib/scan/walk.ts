import {
  type ByteString,
  ComposefsError,
  displayByteString,
  type ObjectId,
  type ProgressSink,
  toByteString,
  utf8ByteString,
} from "../base/mod.ts";
import {
  addressable,
  AT_FDCWD,
  closeNumber,
  DirReader,
  DT,
  ErrnoError,
  fdXattrs,
  lastStat,
  nameXattrs,
  O,
  openBytes,
  openNumber,
  type PathArg,
  readlinkBytes,
  S_IF,
  statInto,
} from "../../ffi/mod.ts";
import { Directory, Leaf, type LeafContent, NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import { type BatchResult, type FileGroup, MAX_INLINE, xattrKey } from "./batch.ts";
import type { Readers } from "./readers.ts";

/** A batch is handed out when it has this much. */
const BATCH = { bytes: 1 << 20, files: 64, groups: 16 } as const;

/** Directories that batches under way may hold open; many systems allow 1024 descriptors. */
const MAX_HELD = 256;

const OPEN_DIRECTORY = O.RDONLY | O.DIRECTORY | O.NOFOLLOW;

/** Types in directory entries as type bits of a mode. */
const MODE_OF_TYPE: Readonly<Record<number, number>> = {
  [DT.FIFO]: S_IF.IFO,
  [DT.CHR]: S_IF.CHR,
  [DT.DIR]: S_IF.DIR,
  [DT.BLK]: S_IF.BLK,
  [DT.REG]: S_IF.REG,
  [DT.LNK]: S_IF.LNK,
  [DT.SOCK]: S_IF.SOCK,
};

/** Content of a leaf whose file has not been read yet, and of empty files. */
const EMPTY: LeafContent = { type: "inline", data: new Uint8Array(0) };

/** An open directory with several users; closed after the last. */
class OpenDirectory {
  readonly number: number;
  readonly path: ByteString;
  #users = 1;

  constructor(number: number, path: ByteString) {
    this.number = number;
    this.path = path;
  }

  use(): this {
    this.#users++;
    return this;
  }

  release(): void {
    if (--this.#users === 0) closeNumber(this.number);
  }
}

/** A directory that has been seen and not entered. */
interface Pending {
  readonly parent: OpenDirectory;
  readonly name: ByteString;
  readonly owner: Directory;
}

/** A name in a directory that is being listed. */
interface Entry {
  readonly open: OpenDirectory;
  readonly directory: Directory;
  readonly name: ByteString;
}

/** What a walk needs. */
export interface WalkOptions {
  /** Reads the files. */
  readers: Readers;
  /** What the readers' sinks are made from. */
  argument: unknown;
  /** Whether names of one inode share a leaf. */
  hardlinks: boolean;
  /** Told how many bytes have been read. */
  progress?: ProgressSink | undefined;
}

/**
 * One walk over a directory tree, depth first with a stack of its own. This thread lists
 * directories and asks for metadata; regular files go in batches to the readers.
 */
export class Walk implements Disposable {
  readonly #options: WalkOptions;
  readonly #stack: Pending[] = [];
  readonly #buffer = addressable(65536);
  readonly #leaves = new Map<number, Map<number | bigint, Leaf>>();
  readonly #xattrSets = new Map<string, Xattrs>();
  #groups: FileGroup[] = [];
  #groupOwners: OpenDirectory[] = [];
  #batchLeaves: Leaf[] = [];
  #batchBytes = 0;
  #held = 0;
  #read = 0;

  /** Creates a walk. */
  constructor(options: WalkOptions) {
    this.#options = options;
  }

  /** Bytes of regular files read so far. */
  get bytes(): number {
    return this.#read;
  }

  /** Walks a tree; all files have been read when it returns. */
  async run(path: PathArg): Promise<Directory> {
    const shown = typeof path === "string" ? utf8ByteString(path) : toByteString(path);
    const number = openNumber(AT_FDCWD, path, { flags: OPEN_DIRECTORY });
    const root = await this.#enter(new OpenDirectory(number, shown.replace(/\/+$/, "")));
    for (let next = this.#stack.pop(); next !== undefined; next = this.#stack.pop()) {
      const { parent, name, owner } = next;
      try {
        owner.entries.set(name, await this.#enter(this.#open(parent, name)));
      } finally {
        parent.release();
      }
    }
    await this.#flush();
    await this.#options.readers.drain();
    return root;
  }

  #open(parent: OpenDirectory, name: ByteString): OpenDirectory {
    const number = openBytes(parent.number, name, OPEN_DIRECTORY);
    const path = `${parent.path}/${name}`;
    if (number < 0) throw new ErrnoError("open", -number, displayByteString(path));
    return new OpenDirectory(number, path);
  }

  /** Takes an open directory over: its metadata and entries. */
  async #enter(open: OpenDirectory): Promise<Directory> {
    try {
      const code = statInto(open.number, 0);
      if (code !== 0) throw new ErrnoError("statx", code, displayByteString(open.path));
      const directory = new Directory(currentStat());
      directory.stat.xattrs = this.#xattrs(fdXattrs(open.number));
      const reader = new DirReader(open.number, this.#buffer);
      while (reader.next()) {
        this.#entry(reader, { open, directory, name: reader.name });
        if (
          this.#batchBytes >= BATCH.bytes || this.#batchLeaves.length >= BATCH.files ||
          this.#groups.length >= BATCH.groups
        ) await this.#flush();
      }
      return directory;
    } finally {
      open.release();
    }
  }

  #entry(reader: DirReader, entry: Entry): void {
    const { open, directory, name } = entry;
    const code = statInto(open.number, reader.nameAddress);
    if (code !== 0) throw new ErrnoError("statx", code, showEntry(entry));
    const type = lastStat.mode & S_IF.MT;
    // Types that have no name here, and DT_UNKNOWN, say nothing.
    if ((MODE_OF_TYPE[reader.type] ?? type) !== type) {
      throw new ComposefsError(
        "CFS_FAILED",
        `File type changed between readdir() and fstat(): "${showEntry(entry)}"`,
      );
    }
    if (type === S_IF.DIR) {
      this.#stack.push({ parent: open.use(), name, owner: directory });
      return;
    }
    let inodes: Map<number | bigint, Leaf> | undefined;
    const ino = lastStat.ino;
    if (this.#options.hardlinks) {
      const dev = lastStat.dev;
      inodes = this.#leaves.get(dev);
      if (inodes === undefined) this.#leaves.set(dev, inodes = new Map());
      const known = inodes.get(ino);
      if (known !== undefined) {
        directory.entries.set(name, known);
        return;
      }
    }
    const leaf = new Leaf(currentStat(), EMPTY);
    inodes?.set(ino, leaf);
    directory.entries.set(name, leaf);
    if (type === S_IF.REG) this.#addFile(leaf, entry, lastStat.size);
    else this.#special(leaf, entry, type);
  }

  #addFile(leaf: Leaf, entry: Entry, size: number): void {
    const { open, name } = entry;
    let group = this.#groups.at(-1);
    if (group === undefined || this.#groupOwners.at(-1) !== open) {
      group = { dir: open.number, path: open.path, names: [], sizes: [] };
      this.#groups.push(group);
      this.#groupOwners.push(open.use());
    }
    group.names.push(name);
    group.sizes.push(size);
    this.#batchLeaves.push(leaf);
    this.#batchBytes += size;
  }

  #special(leaf: Leaf, entry: Entry, type: number): void {
    const { open, name } = entry;
    switch (type) {
      case S_IF.LNK:
        leaf.content = { type: "symlink", target: readlinkBytes(open.number, name) };
        break;
      case S_IF.CHR:
        leaf.content = { type: "char", rdev: lastStat.rdev };
        break;
      case S_IF.BLK:
        leaf.content = { type: "block", rdev: lastStat.rdev };
        break;
      case S_IF.IFO:
        leaf.content = { type: "fifo" };
        break;
      case S_IF.SOCK:
        leaf.content = { type: "socket" };
        break;
      default:
        throw new ComposefsError("CFS_UNSUPPORTED", `Unknown file type: "${showEntry(entry)}"`);
    }
    leaf.stat.xattrs = this.#xattrs(nameXattrs(open.number, name));
  }

  /** A set of extended attributes; equal ones are one object. */
  #xattrs(flat: readonly ByteString[] | undefined): Xattrs {
    if (flat === undefined || flat.length === 0) return NO_XATTRS;
    const key = xattrKey(flat);
    let xattrs = this.#xattrSets.get(key);
    if (xattrs === undefined) {
      const map = new Map<ByteString, ByteString>();
      for (let i = 0; i + 1 < flat.length; i += 2) map.set(flat[i]!, flat[i + 1]!);
      this.#xattrSets.set(key, xattrs = map);
    }
    return xattrs;
  }

  /** Hands out the batch that has been collected. */
  async #flush(): Promise<void> {
    if (this.#batchLeaves.length === 0) return;
    const leaves = this.#batchLeaves;
    const owners = this.#groupOwners;
    const groups = this.#groups;
    const bytes = this.#batchBytes;
    this.#groups = [];
    this.#groupOwners = [];
    this.#batchLeaves = [];
    this.#batchBytes = 0;
    this.#held += owners.length;
    await this.#options.readers.add({
      files: { argument: this.#options.argument, groups },
      count: leaves.length,
      bytes,
      done: (result) => {
        this.#held -= owners.length;
        for (const owner of owners) owner.release();
        if (result !== undefined) this.#apply(leaves, groups, result);
      },
    });
    if (this.#held > MAX_HELD) await this.#options.readers.drain();
  }

  /** Puts what was read into the leaves. */
  #apply(leaves: Leaf[], groups: FileGroup[], result: BatchResult): void {
    const sets = result.sets.map((flat) => this.#xattrs(flat));
    let index = 0;
    for (const { sizes } of groups) {
      for (const size of sizes) {
        const leaf = leaves[index]!;
        if (size > MAX_INLINE) {
          leaf.content = { type: "external", digest: result.ids[index] as ObjectId, size };
        } else if (size > 0) {
          leaf.content = { type: "inline", data: result.inline.get(index)! };
        }
        const set = result.setOf?.[index];
        if (set !== undefined && set !== 0) leaf.stat.xattrs = sets[set]!;
        index++;
      }
    }
    this.#read += result.bytes;
    this.#options.progress?.({ type: "progress", id: "scan", done: this.#read });
  }

  /** Closes what a walk that failed has left open. */
  [Symbol.dispose](): void {
    for (const { parent } of this.#stack.splice(0)) parent.release();
    for (const owner of this.#groupOwners.splice(0)) owner.release();
  }
}

function showEntry(entry: Entry): string {
  return displayByteString(`${entry.open.path}/${entry.name}`);
}

/** The metadata that statInto() just got. */
function currentStat(): Leaf["stat"] {
  return {
    mode: lastStat.mode & 0o7777,
    uid: lastStat.uid,
    gid: lastStat.gid,
    mtimeSec: lastStat.mtimeSec,
    mtimeNsec: lastStat.mtimeNsec,
    xattrs: NO_XATTRS,
  };
}
