/**
 * Reading an image into a file tree (spec: erofs 5.3, 8.2, 8.3).
 *
 * @module
 */
import { ComposefsError, FormatError, type HashName, withContext } from "../base/mod.ts";
import type { ByteString } from "../base/mod.ts";
import {
  Directory,
  type FileTree,
  type Leaf,
  NO_XATTRS,
  type Stat,
  type TreeNotes,
} from "../tree/mod.ts";
import { Claims } from "./claims.ts";
import { DirectoryCursor, isStubName } from "./directory.ts";
import { LeafReader } from "./image_leaf.ts";
import { checkName, checkOrder, checkType, quoteName } from "./image_names.ts";
import { NO_MARKS, PARENT_MARKS_V0, PARENT_MARKS_V1, XattrReader } from "./image_xattrs.ts";
import { type ErofsImage, invalidImage } from "./read.ts";
import { InodeCursor } from "./read_inode.ts";
import { depthExceeded, MAX_DEPTH } from "./walk.ts";

/** Deeper faults are reported with the whole path in one line instead of one line a level. */
const MAX_CONTEXT = 32;

/** Stands in until a directory was read to its end. */
const NO_STAT: Stat = {
  mode: 0,
  uid: 0,
  gid: 0,
  mtimeSec: 0n,
  mtimeNsec: 0,
  xattrs: NO_XATTRS,
};

/** How to read an image. */
export interface ReadTreeOptions {
  /** The hash function of its objects. @default that of the first digest in the image */
  readonly hash?: HashName;
}

/** One directory that is being read. */
interface Frame {
  nid: number;
  directory: Directory;
  name: ByteString;
  subdirectories: number;
  hasWhiteout: boolean;
  dots: number;
  /** Where the previous name is; both 0 before the first entry. */
  start: number;
  end: number;
}

/** A leaf with more than one link. */
interface Linked {
  readonly leaf: Leaf;
  readonly nlink: number;
  references: number;
}

class TreeReader {
  readonly #image: ErofsImage;
  readonly #claims: Claims;
  readonly #inode: InodeCursor;
  readonly #leaves: LeafReader;
  /** One cursor a level, kept for the next directory of that level. */
  readonly #cursors: DirectoryCursor[] = [];
  readonly #frames: Frame[] = [];
  readonly #linked = new Map<number, Linked>();
  readonly #notes: TreeNotes = new Map();

  constructor(image: ErofsImage, options: ReadTreeOptions) {
    this.#image = image;
    this.#claims = new Claims(image);
    this.#inode = new InodeCursor(image);
    this.#leaves = new LeafReader(image, new XattrReader(image, this.#claims), {
      claims: this.#claims,
      hash: options.hash,
    });
  }

  read(): FileTree {
    const root = new Directory(NO_STAT);
    const rootNid = this.#image.rootNid;
    this.#inode.load(rootNid);
    if (!this.#inode.isDirectory) throw invalidImage("root is not a directory");
    try {
      this.#enter(root, "");
      this.#run();
    } catch (error) {
      throw error instanceof ComposefsError ? this.#context(error) : error;
    }
    for (const [nid, { nlink, references }] of this.#linked) {
      if (nlink !== references) throw linkMismatch(nid, nlink, references);
    }
    return this.#notes.size === 0 ? { root } : { root, notes: this.#notes };
  }

  #run(): void {
    const frames = this.#frames;
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const entry = this.#cursors[frames.length - 1]!;
      if (entry.next()) {
        this.#entry(frame, entry);
      } else {
        this.#finish(frame);
        frames.pop();
      }
    }
  }

  /** Starts the directory whose inode is loaded. */
  #enter(directory: Directory, name: ByteString): void {
    const inode = this.#inode;
    this.#claims.visit(inode.nid);
    this.#claims.spend(inode.end - inode.offset);
    const depth = this.#frames.push({
      nid: inode.nid,
      directory,
      name,
      subdirectories: 0,
      hasWhiteout: false,
      dots: 0,
      start: 0,
      end: 0,
    });
    const cursor = this.#cursors[depth - 1] ??= new DirectoryCursor(this.#image);
    cursor.open(inode);
    this.#claims.spend(inode.blockCount * this.#image.blockSize);
  }

  #entry(frame: Frame, entry: DirectoryCursor): void {
    const bytes = this.#image.bytes;
    checkName(bytes, entry);
    if (frame.end > 0) checkOrder(bytes, entry, frame);
    frame.start = entry.nameStart;
    frame.end = entry.nameEnd;
    if (entry.isDot) {
      if (entry.nid !== frame.nid) throw selfReference();
      frame.dots++;
    } else if (entry.isDotDot) {
      if (entry.nid !== (this.#frames.at(-2) ?? frame).nid) throw parentReference();
      frame.dots++;
    } else {
      this.#child(frame, entry);
    }
  }

  #child(frame: Frame, entry: DirectoryCursor): void {
    const inode = this.#inode;
    const image = this.#image;
    inode.load(entry.nid);
    checkType(entry, inode.mode);
    if (inode.isDirectory) {
      this.#subdirectory(frame, entry);
      return;
    }
    const linked = this.#linked.get(inode.nid);
    if (linked !== undefined) {
      linked.references++;
      frame.directory.entries.set(entry.name, linked.leaf);
      return;
    }
    if (!this.#claims.visit(inode.nid)) throw linkMismatch(inode.nid, inode.nlink, 2);
    this.#claims.spend(inode.end - inode.offset);
    const native = inode.isNativeWhiteout;
    const isRoot = this.#frames.length === 1;
    if (
      native && isRoot && image.isEpoch1 &&
      isStubName(image.bytes, entry.nameStart, entry.nameEnd)
    ) {
      return;
    }
    const escaped = this.#leaves.isEscapedWhiteout(inode);
    if ((native || escaped) && inode.nlink > 1) {
      throw new FormatError(
        "erofs",
        `invalid composefs image: whiteout inode ${quoteName(entry.name)} has nlink > 1`,
      );
    }
    const name = entry.name;
    const leaf = this.#leaves.leaf(inode, () => name, escaped);
    if (escaped) frame.hasWhiteout = true;
    if (inode.nlink > 1) {
      this.#linked.set(inode.nid, { leaf, nlink: inode.nlink, references: 1 });
    } else if (inode.nlink !== 1) {
      throw linkMismatch(inode.nid, inode.nlink, 1);
    }
    if (this.#leaves.notes !== undefined) this.#notes.set(leaf, this.#leaves.notes);
    frame.directory.entries.set(name, leaf);
  }

  #subdirectory(frame: Frame, entry: DirectoryCursor): void {
    const nid = entry.nid;
    if (!this.#claims.visit(nid)) {
      const within = this.#frames.some((f) => f.nid === nid);
      throw invalidImage(
        within
          ? `directory entry ${quoteName(entry.name)} leads back to a directory above it`
          : `directory entry ${quoteName(entry.name)} is a second name of a directory`,
      );
    }
    if (this.#frames.length >= MAX_DEPTH) {
      throw depthExceeded();
    }
    frame.subdirectories++;
    const directory = new Directory(NO_STAT);
    frame.directory.entries.set(entry.name, directory);
    this.#enter(directory, entry.name);
  }

  #finish(frame: Frame): void {
    // Names are unique, so two dots are one of each; which one is missing is found by looking.
    if (frame.dots !== 2) throw this.#missingDot(frame);
    const inode = this.#inode;
    inode.load(frame.nid);
    const expected = 2 + frame.subdirectories;
    if (inode.nlink !== expected) {
      throw new FormatError(
        "erofs",
        `directory nlink mismatch: on-disk nlink is ${inode.nlink}, ` +
          `expected ${expected} (2 + ${frame.subdirectories} subdirectories)`,
      );
    }
    const marks = !frame.hasWhiteout
      ? NO_MARKS
      : this.#image.version === 0
      ? PARENT_MARKS_V0
      : PARENT_MARKS_V1;
    frame.directory.stat = this.#leaves.stat(inode, marks);
  }

  #missingDot(frame: Frame): FormatError {
    const inode = this.#inode;
    const entries = this.#cursors[this.#frames.length - 1]!;
    inode.load(frame.nid);
    entries.open(inode);
    while (entries.next()) {
      if (entries.isDot) return parentReference();
    }
    return selfReference();
  }

  /** Says in which directory the fault is. */
  #context(fault: ComposefsError): ComposefsError {
    const names = this.#frames.slice(1).map((frame) => frame.name);
    let error = fault;
    if (names.length > MAX_CONTEXT) {
      error = withContext(`reading directory ${quoteName("/" + names.join("/"))}`, error);
    } else {
      for (const name of names.reverse()) {
        error = withContext(`reading directory ${quoteName(name)}`, error);
      }
    }
    return withContext("reading root directory", error);
  }
}

function selfReference(): FormatError {
  return new FormatError("erofs", "Invalid '.' entry in directory");
}

function parentReference(): FormatError {
  return new FormatError("erofs", "Invalid '..' entry in directory");
}

function linkMismatch(nid: number, nlink: number, references: number): FormatError {
  return new FormatError(
    "erofs",
    `nlink mismatch for inode nid ${nid}: on-disk nlink is ${nlink}, ` +
      `but found ${references} reference(s) in the directory tree`,
  );
}

/**
 * Reads the whole tree of an image. Inline contents are views of the image's bytes. Directory
 * entries are inserted in byte order of their names.
 *
 * @param image the image
 * @param options the hash function
 * @returns the tree; its notes hold redirects that are not the path of the digest
 * @throws {FormatError} (or a ComposefsError whose cause it is, for faults below a directory) when
 * the image breaks any rule of spec erofs 5.2, 5.3 or 8.2
 */
export function readTree(image: ErofsImage, options: ReadTreeOptions = {}): FileTree {
  return new TreeReader(image, options).read();
}
