import { utf8ByteString } from "../lib/base/mod.ts";
import { formatEntry, formatHardlink } from "../lib/dumpfile/mod.ts";
import type { Directory, Leaf, Node } from "../lib/tree/mod.ts";

function directoryLinks(directory: Directory): number {
  let links = 2;
  for (const node of directory.entries.values()) if (node.kind === "directory") links++;
  return links;
}

/**
 * Formats a part of a tree as the reference's `dump-files` does: paths start as the user wrote them,
 * and further names refer to names in the same part.
 *
 * @param top The node to start with.
 * @param options `path`: as the user wrote it, `links`: link counts in the whole tree.
 * @returns Lines in ASCII, each with its newline.
 */
export function* dumpSubtree(
  top: Node,
  options: { path: string; links: ReadonlyMap<Leaf, number> },
): Generator<string, void, undefined> {
  const first = new Map<Leaf, string>();
  const pending: { path: string; node: Node }[] = [
    { path: utf8ByteString(options.path), node: top },
  ];
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    const { path, node } = item;
    if (node.kind === "leaf") {
      const earlier = first.get(node);
      if (earlier === undefined) first.set(node, path);
      yield earlier === undefined
        ? formatEntry(path, node, { nlink: options.links.get(node) ?? 1 })
        : formatHardlink(path, earlier);
      continue;
    }
    yield formatEntry(path, node, { nlink: directoryLinks(node) });
    const prefix = path.replace(/\/+$/, "") + "/";
    for (const name of node.sortedNames().reverse()) {
      pending.push({ path: prefix + name, node: node.entries.get(name)! });
    }
  }
}
