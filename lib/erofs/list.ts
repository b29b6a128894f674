/**
 * The listing of an image's files (spec: erofs 7.2).
 *
 * @module
 */
import { type ByteString, objectPath } from "../base/mod.ts";
import {
  countLinks,
  Directory,
  type FileTree,
  type Leaf,
  type LeafNotes,
  type Node,
  type TreeNotes,
} from "../tree/mod.ts";

/** How to list the files of an image. */
export interface ListEntriesOptions {
  /** Names in the root to which the listing is limited; empty means all. @default [] */
  readonly filter?: readonly ByteString[];
  /**
   * What a further name of a hard-linked symbolic link shows: `rs` its target again, `c` nothing.
   * @default "rs"
   */
  readonly dialect?: "rs" | "c";
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** Escapes as in dumpfiles, but space, `=` and a single `-` stay as they are. */
function escapeListed(bytes: ByteString): string {
  return bytes.replace(
    /[\\]|[^\x20-\x7e]/g,
    (c) => ESCAPES[c] ?? "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
  );
}

/** The object that a file's content is in, as a path, if it is in one. */
function contentPath(leaf: Leaf, notes: LeafNotes | undefined): ByteString | undefined {
  const { content } = leaf;
  if (content.type === "external" || content.type === "external-no-verity") {
    return notes?.redirect ?? objectPath(content.digest);
  }
  return notes?.redirect ?? undefined;
}

/** One directory that is being listed. */
interface Level {
  readonly path: ByteString;
  readonly entries: Iterator<[ByteString, Node]>;
}

/**
 * Lists the files of a tree, one line each, depth first in byte order of the names, without the
 * root: directories end in `/` and a tab, symbolic links show `-> target`, files whose content is in
 * an object `@ ` and its path. Files that have a redirect but no digest are shown with it, since
 * they need it (spec: erofs 6, row 36). A further name of a hard-linked file shows only its path.
 *
 * @param tree the tree of the image
 * @param options names in the root to which the listing is limited
 * @returns the lines, each with its newline, in ASCII
 */
export function* listEntries(
  tree: FileTree,
  options: ListEntriesOptions = {},
): Generator<string, void, undefined> {
  const repeatTarget = options.dialect !== "c";
  const seen = new Set<Leaf>();
  const levels: Level[] = [{ path: "", entries: filtered(tree.root, options.filter ?? []) }];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const next = level.entries.next();
    if (next.done === true) {
      levels.pop();
      continue;
    }
    const [name, node] = next.value;
    const path = `${level.path}/${escapeListed(name)}`;
    if (node.kind === "directory") {
      yield `${path}/\t\n`;
      levels.push({ path, entries: node.sorted().values() });
      continue;
    }
    const again = seen.has(node);
    seen.add(node);
    if (node.content.type === "symlink") {
      const target = again && !repeatTarget ? "" : `\t-> ${escapeListed(node.content.target)}`;
      yield `${path}${target}\n`;
      continue;
    }
    const object = again ? undefined : contentPath(node, tree.notes?.get(node));
    yield object === undefined ? `${path}\n` : `${path}\t@ ${escapeListed(object)}\n`;
  }
}

function filtered(
  root: Directory,
  filter: readonly ByteString[],
): IterableIterator<[ByteString, Node]> {
  const entries = root.sorted();
  if (filter.length === 0) return entries.values();
  const names = new Set(filter);
  return entries.filter(([name]) => names.has(name)).values();
}

/**
 * Limits a tree to some entries of its root; the nodes are shared with the given tree. Link counts
 * that the limit changes are kept in the notes of the result.
 *
 * @param tree the tree
 * @param names the names in the root to keep; names that are not there are ignored
 * @returns a tree with a root of the same metadata; the same tree when `names` is empty
 */
export function filterRoot(tree: FileTree, names: readonly ByteString[]): FileTree {
  if (names.length === 0) return tree;
  const root = new Directory(tree.root.stat);
  for (const [name, node] of filtered(tree.root, names)) root.entries.set(name, node);
  const notes: TreeNotes = new Map();
  const all = countLinks(tree);
  for (const [leaf, links] of countLinks({ root })) {
    const note = { ...tree.notes?.get(leaf) };
    const total = all.get(leaf)!;
    if (links !== total) note.nlink = total;
    if (Object.keys(note).length > 0) notes.set(leaf, note);
  }
  return notes.size === 0 ? { root } : { root, notes };
}
