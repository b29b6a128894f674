/** What differs between two commits, in `ostree diff`'s order (spec: ostree 5). */
import { type ByteString, FormatError } from "../base/mod.ts";
import type { Checksum } from "./checksum.ts";
import { type EntryLookup, MAX_TREE_DEPTH } from "./commit_tree.ts";
import { type DirTree, parseDirTree, type TreeDirectory, type TreeFile } from "./dirtree.ts";

/** Paths that differ, as byte strings that begin with a slash. */
export interface CommitDiff {
  /** Content or metadata differ, or one is a directory and the other is not. */
  readonly modified: readonly ByteString[];
  /** Only in the first commit; of directories only the top one. */
  readonly removed: readonly ByteString[];
  /** Only in the second commit, with everything below directories. */
  readonly added: readonly ByteString[];
}

/** The root of a commit and its objects. */
export interface DiffSide {
  /** Finds its objects. */
  readonly lookup: EntryLookup;
  /** Dirtree and dirmeta of its root. */
  readonly root: { readonly tree: Checksum; readonly meta: Checksum };
}

/** Work that is left: compare two directories, list what is new in one, list a new directory. */
type Step =
  | { type: "pair"; path: ByteString; depth: number; a: TreeDirectory; b: TreeDirectory }
  | { type: "removed"; path: ByteString }
  | { type: "changed"; path: ByteString }
  | { type: "rest"; path: ByteString; depth: number; a: DirTree; b: DirTree }
  | { type: "new"; path: ByteString; depth: number; dir: TreeDirectory };

/**
 * Compares two commits; directories with the same checksums are not looked into.
 *
 * @throws {FormatError} when objects are missing or malformed
 */
export function diffCommits(a: DiffSide, b: DiffSide): CommitDiff {
  const modified: ByteString[] = [];
  const removed: ByteString[] = [];
  const added: ByteString[] = [];
  const stack: Step[] = [{
    type: "pair",
    path: "",
    depth: 0,
    a: { name: "", ...a.root },
    b: { name: "", ...b.root },
  }];
  for (let step = stack.pop(); step !== undefined; step = stack.pop()) {
    const { path } = step;
    if (step.type === "removed") removed.push(path);
    else if (step.type === "changed") modified.push(path);
    else if (step.depth > MAX_TREE_DEPTH) {
      throw new FormatError("ostree dirtree", `Tree deeper than ${MAX_TREE_DEPTH} directories`);
    } else if (step.type === "pair") {
      if (step.a.meta !== step.b.meta && path !== "") modified.push(path);
      if (step.a.tree === step.b.tree) continue;
      const trees = { a: treeOf(a, step.a.tree), b: treeOf(b, step.b.tree) };
      const below = { path, depth: step.depth, ...trees };
      stack.push({ type: "rest", ...below });
      compareEntries(below, { stack, modified, removed });
    } else if (step.type === "rest") {
      listNew(step, { stack, added });
    } else {
      added.push(path);
      const tree = treeOf(b, step.dir.tree);
      for (const { name } of tree.files) added.push(`${path}/${name}`);
      for (const dir of [...tree.dirs].reverse()) {
        stack.push({ type: "new", path: `${path}/${dir.name}`, depth: step.depth + 1, dir });
      }
    }
  }
  return { modified, removed, added };
}

function treeOf(side: DiffSide, checksum: Checksum): DirTree {
  const entry = side.lookup(checksum);
  if (entry === undefined) {
    throw new FormatError("ostree commit stream", `Missing dirtree object ${checksum}`);
  }
  return parseDirTree(entry.data);
}

function byName<T extends { readonly name: ByteString }>(list: readonly T[]): Map<ByteString, T> {
  return new Map(list.map((one) => [one.name, one]));
}

/** Entries of the first directory: files at once, directories when their turn comes. */
function compareEntries(
  { path, depth, a, b }: { path: ByteString; depth: number; a: DirTree; b: DirTree },
  out: { stack: Step[]; modified: ByteString[]; removed: ByteString[] },
): void {
  const files: Map<ByteString, TreeFile> = byName(b.files);
  const dirs: Map<ByteString, TreeDirectory> = byName(b.dirs);
  for (const { name, checksum } of a.files) {
    const other = files.get(name);
    if (other === undefined && !dirs.has(name)) out.removed.push(`${path}/${name}`);
    else if (other?.checksum !== checksum) out.modified.push(`${path}/${name}`);
  }
  for (const dir of [...a.dirs].reverse()) {
    const below = `${path}/${dir.name}`;
    const other = dirs.get(dir.name);
    if (other !== undefined) {
      out.stack.push({ type: "pair", path: below, depth: depth + 1, a: dir, b: other });
    } else out.stack.push({ type: files.has(dir.name) ? "changed" : "removed", path: below });
  }
}

/** Entries that only the second directory has. */
function listNew(
  { path, depth, a, b }: { path: ByteString; depth: number; a: DirTree; b: DirTree },
  out: { stack: Step[]; added: ByteString[] },
): void {
  const known = new Set([...a.files, ...a.dirs].map(({ name }) => name));
  for (const { name } of b.files) if (!known.has(name)) out.added.push(`${path}/${name}`);
  for (const dir of [...b.dirs].reverse()) {
    if (known.has(dir.name)) continue;
    out.stack.push({ type: "new", path: `${path}/${dir.name}`, depth: depth + 1, dir });
  }
}
