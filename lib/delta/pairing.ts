import type { ByteString, ObjectId } from "../base/mod.ts";
import type { Directory, FileTree } from "../tree/mod.ts";
import { TAR_DIFF_LIMITS } from "./layout.ts";

/** Appliers that a delta has to work with: what they can read decides what may be opened. */
export type TargetCompat = "any" | "cfsctl" | "oci-delta";

/** A content of the old image. */
export interface OldContent {
  /** Its object id, or any other name that only equal contents share. */
  readonly id: ObjectId;
  /** Size in bytes. */
  readonly size: number;
  /** Names that it can be opened by, sorted. */
  readonly paths: readonly ByteString[];
}

/** What a new file is made from. */
export interface Pairing {
  /** Number of the content; -1 for none. */
  readonly content: number;
  /** Name to open it by. */
  readonly path: ByteString;
  /** Whether the contents are equal. */
  readonly same: boolean;
}

const NONE: Pairing = { content: -1, path: "", same: false };
const OTHERS_READ = 0o004;
/** Sizes that are further apart belong to files that have only their names in common. */
const SIZE_FACTOR = 10;
/** Of many files with one name only so many are looked at. */
const MAX_CANDIDATES = 64;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Whether an applier finds a name: the reference empties `/run`, the generator skips its own store. */
function isUsable(path: ByteString, compat: TargetCompat): boolean {
  if (compat !== "oci-delta" && path.startsWith("run/")) return false;
  if (compat !== "cfsctl" && path.startsWith("sysroot/ostree/")) return false;
  if (path.length > TAR_DIFF_LIMITS.path) return false;
  for (let i = 0; i < path.length; i++) {
    const unit = path.charCodeAt(i);
    if (unit > 0x7f) return isUtf8(path);
    if (unit === 0) return false;
  }
  return true;
}

function isUtf8(path: ByteString): boolean {
  try {
    utf8.decode(Uint8Array.from(path, (unit) => unit.charCodeAt(0)));
    return true;
  } catch {
    return false; // appliers refuse such names
  }
}

/**
 * Lists what an image's files hold.
 *
 * @param tree the merged layers, not transformed
 * @returns contents above the size that is kept inline, in the order of their first names
 */
export function listContents(tree: FileTree, options: { compat: TargetCompat }): OldContent[] {
  const { compat } = options;
  const found = new Map<ObjectId, { id: ObjectId; size: number; paths: ByteString[] }>();
  const open: [ByteString, Directory][] = [["", tree.root]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [prefix, directory] = next;
    for (const [name, node] of directory.entries) {
      const path = prefix + name;
      if (node.kind === "directory") {
        if (path.length < TAR_DIFF_LIMITS.path) open.push([`${path}/`, node]);
        continue;
      }
      const { content, stat } = node;
      if (content.type !== "external" || !isUsable(path, compat)) continue;
      if (compat !== "cfsctl" && (stat.mode & OTHERS_READ) === 0) continue;
      const known = found.get(content.digest);
      if (known !== undefined) known.paths.push(path);
      else found.set(content.digest, { id: content.digest, size: content.size, paths: [path] });
    }
  }
  const contents = [...found.values()];
  for (const { paths } of contents) paths.sort();
  return contents.sort((a, b) => a.paths[0]! < b.paths[0]! ? -1 : 1);
}

/** Finds what new files have come from, by content and by name. */
export class Pairer {
  readonly #contents: readonly OldContent[];
  readonly #byId = new Map<ObjectId, number>();
  readonly #byPath = new Map<ByteString, number>();
  /** Numbers of contents by name with all digits alike, whole path and last component. */
  readonly #byShape = new Map<ByteString, [content: number, path: ByteString][]>();

  /** Indexes the old image's contents. */
  constructor(contents: readonly OldContent[]) {
    this.#contents = contents;
    for (const [i, { id, paths }] of contents.entries()) {
      this.#byId.set(id, i);
      for (const path of paths) {
        this.#byPath.set(path, i);
        for (const key of [shape(path), baseName(path), shape(baseName(path))]) {
          const list = this.#byShape.get(key);
          if (list === undefined) this.#byShape.set(key, [[i, path]]);
          else if (list.length < MAX_CANDIDATES) list.push([i, path]);
        }
      }
    }
  }

  /** The source of a new file; `path` without a leading slash. */
  find(path: ByteString, file: { id: ObjectId; size: number }): Pairing {
    const equal = this.#byId.get(file.id);
    if (equal !== undefined) {
      const { paths } = this.#contents[equal]!;
      return { content: equal, path: closest(paths, path), same: true };
    }
    const here = this.#byPath.get(path);
    if (here !== undefined && this.#similarSize(here, file.size)) {
      return { content: here, path, same: false };
    }
    const base = baseName(path);
    for (const key of [shape(path), base, shape(base)]) {
      let best: Pairing | undefined;
      let bestScore = -1;
      for (const [content, name] of this.#byShape.get(key) ?? []) {
        if (!this.#similarSize(content, file.size)) continue;
        const score = alike(name, path);
        if (score <= bestScore) continue;
        bestScore = score;
        best = { content, path: name, same: false };
      }
      if (best !== undefined) return best;
    }
    return NONE;
  }

  #similarSize(content: number, size: number): boolean {
    const other = this.#contents[content]!.size;
    return Math.max(size, other) <= Math.max(2 ** 16, SIZE_FACTOR * Math.min(size, other));
  }
}

function baseName(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** A name without its version numbers. */
function shape(path: ByteString): ByteString {
  return path.replace(/[0-9]+/g, "0");
}

/** How much of two names is equal, from both ends. */
function alike(a: ByteString, b: ByteString): number {
  const limit = Math.min(a.length, b.length);
  let head = 0;
  while (head < limit && a.charCodeAt(head) === b.charCodeAt(head)) head++;
  let tail = 0;
  while (
    tail < limit - head && a.charCodeAt(a.length - 1 - tail) === b.charCodeAt(b.length - 1 - tail)
  ) tail++;
  return head + tail;
}

/** The name that is most like the new file's, which the tar header in front of it has shown already. */
function closest(paths: readonly ByteString[], path: ByteString): ByteString {
  let best = paths[0]!;
  if (paths.length === 1) return best;
  let bestScore = -1;
  for (const one of paths.slice(0, MAX_CANDIDATES)) {
    const score = one === path ? Infinity : alike(one, path);
    if (score > bestScore) {
      best = one;
      bestScore = score;
    }
  }
  return best;
}
