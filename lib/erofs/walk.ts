/**
 * Visiting every inode once without building a tree.
 *
 * @module
 */
import { type ByteString, FormatError } from "../base/mod.ts";
import { Claims } from "./claims.ts";
import { DirectoryCursor } from "./directory.ts";
import type { ErofsImage } from "./read.ts";
import { InodeCursor } from "./read_inode.ts";

/** What {@linkcode walkInodes} calls. */
export interface InodeVisitor {
  /** An inode that was not visited before; the cursor is valid during the call. */
  inode(inode: InodeCursor): void;
  /**
   * An entry other than `.` and `..`; called before its inode is read. The cursor is valid during
   * the call.
   */
  entry?(entry: DirectoryCursor, directory: number): void;
}

/** A stack of inode numbers without an object for each. */
class NidStack {
  #items = new Uint32Array(1024);
  #length = 0;

  push(nid: number): void {
    if (this.#length === this.#items.length) {
      const bigger = new Uint32Array(this.#length * 2);
      bigger.set(this.#items);
      this.#items = bigger;
    }
    this.#items[this.#length++] = nid;
  }

  pop(): number | undefined {
    return this.#length === 0 ? undefined : this.#items[--this.#length];
  }
}

/**
 * Visits every reachable inode once, in no particular order. Only bounds are checked: what names,
 * types and link counts say is not looked at, so this works on images that cannot be read as a tree.
 *
 * @param image the image
 * @param visitor what to call
 * @throws {FormatError} when an inode or directory is not readable
 */
export function walkInodes(image: ErofsImage, visitor: InodeVisitor): void {
  const claims = new Claims(image);
  const inode = new InodeCursor(image);
  const entries = new DirectoryCursor(image);
  const stack = new NidStack();
  stack.push(image.rootNid);
  for (let nid = stack.pop(); nid !== undefined; nid = stack.pop()) {
    inode.load(nid);
    if (!claims.visit(nid)) continue;
    claims.spend(inode.end - inode.offset);
    visitor.inode(inode);
    if (!inode.isDirectory) continue;
    entries.open(inode);
    claims.spend(inode.blockCount * image.blockSize);
    while (entries.next()) {
      if (entries.isDot || entries.isDotDot) continue;
      visitor.entry?.(entries, nid);
      stack.push(entries.nid);
    }
  }
}

/** One directory of {@linkcode walkNames}. */
interface Level {
  readonly name: ByteString;
  readonly entries: DirectoryCursor;
}

/** Directories may be nested this deep, the root included. */
export const MAX_DEPTH = 2048;

/**
 * Visits every reachable inode once, depth first in the order of the directories, with a path that
 * leads to it. Only bounds and the depth are checked, as in {@linkcode walkInodes}.
 *
 * @param image the image
 * @param visit called with the inode, valid during the call, and a function that makes the absolute
 * path; returns whether to go on
 * @throws {FormatError} when an inode or directory is not readable
 */
export function walkNames(
  image: ErofsImage,
  visit: (inode: InodeCursor, path: () => ByteString) => boolean,
): void {
  const claims = new Claims(image);
  const inode = new InodeCursor(image);
  const levels: Level[] = [];
  const cursors: DirectoryCursor[] = [];
  let name: ByteString = "";
  const path = () =>
    levels.length === 0 ? "/" : levels.map((level) => level.name).join("/") + "/" + name;

  function enter(nid: number): boolean {
    inode.load(nid);
    if (!claims.visit(nid)) return true;
    claims.spend(inode.end - inode.offset);
    if (!visit(inode, path)) return false;
    if (!inode.isDirectory) return true;
    const depth = levels.length;
    if (depth >= MAX_DEPTH) throw depthExceeded();
    const entries = cursors[depth] ??= new DirectoryCursor(image);
    entries.open(inode);
    claims.spend(inode.blockCount * image.blockSize);
    levels.push({ name, entries });
    return true;
  }

  if (!enter(image.rootNid)) return;
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const { entries } = level;
    if (!entries.next()) {
      levels.pop();
      continue;
    }
    if (entries.isDot || entries.isDotDot) continue;
    name = entries.name;
    if (!enter(entries.nid)) return;
  }
}

/** The error for directories nested deeper than {@linkcode MAX_DEPTH}. */
export function depthExceeded(): FormatError {
  return new FormatError("erofs", "Maximum directory depth exceeded");
}
