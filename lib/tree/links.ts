import { FormatError } from "../base/mod.ts";
import type { FileTree } from "./file_tree.ts";
import type { Directory, Leaf, Node } from "./tree.ts";

/**
 * Calls `visit` for every directory and leaf, a leaf with several names once for each, in no
 * particular order. Uses no recursion, so any depth is fine.
 */
export function forEachNode(tree: FileTree, visit: (node: Node) => void): void {
  const stack: Directory[] = [tree.root];
  visit(tree.root);
  for (let directory = stack.pop(); directory !== undefined; directory = stack.pop()) {
    for (const node of directory.entries.values()) {
      visit(node);
      if (node.kind === "directory") stack.push(node);
    }
  }
}

/**
 * Counts the names of every leaf (spec: erofs 1.1: link counts are not stored).
 *
 * @returns the number of directory entries that hold each leaf
 */
export function countLinks(tree: FileTree): Map<Leaf, number> {
  const links = new Map<Leaf, number>();
  forEachNode(tree, (node) => {
    if (node.kind === "leaf") links.set(node, (links.get(node) ?? 0) + 1);
  });
  return links;
}

/**
 * Checks what every image requires of its tree (spec: erofs 1.1, "validate").
 *
 * @throws {FormatError} when a whiteout has more than one name
 */
export function validateTree(tree: FileTree): void {
  const whiteouts = new Set<Leaf>();
  forEachNode(tree, (node) => {
    if (node.kind !== "leaf" || !node.isWhiteout) return;
    if (whiteouts.has(node)) throw whiteoutLinkError();
    whiteouts.add(node);
  });
}

/** The error for a whiteout with several names, in the reference's words. */
export function whiteoutLinkError(): FormatError {
  return new FormatError(
    "file tree",
    "invalid composefs filesystem: whiteout inode has nlink > 1",
  );
}

/** Whether any leaf is a whiteout: such trees need format version 1 or above in the C tools. */
export function hasWhiteout(tree: FileTree): boolean {
  const stack: Directory[] = [tree.root];
  for (let directory = stack.pop(); directory !== undefined; directory = stack.pop()) {
    for (const node of directory.entries.values()) {
      if (node.kind === "directory") stack.push(node);
      else if (node.isWhiteout) return true;
    }
  }
  return false;
}
