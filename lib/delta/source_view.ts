/**
 * The two ideas of what files an old image has: the true one, and the one of the released
 * generator, whose deltas can open files that are gone (spec: oci 7.4, 7.5).
 *
 * @module
 */
import type { ByteString } from "../base/mod.ts";
import type { TarEntry } from "../tar/mod.ts";
import type { Directory, FileTree, LeafContent } from "../tree/mod.ts";
import { TAR_DIFF_LIMITS } from "./layout.ts";
import { buildSourceTable, type SourceEntry, type SourceTableMemory } from "./source_table.ts";

const WHITEOUT_PREFIX: ByteString = ".wh.";
const OPAQUE_NAME: ByteString = ".wh..wh..opq";
/** Permission bit that the generator wants on its sources: others may read. */
const OTHERS_READ = 0o004;

function leafEntry(content: LeafContent): SourceEntry {
  switch (content.type) {
    case "inline":
      return { type: "inline", data: content.data };
    case "external":
    case "external-no-verity":
      return { type: "external", digest: content.digest, size: content.size };
    default:
      return { type: "other" };
  }
}

/**
 * The files of a merged tree.
 *
 * @param tree not transformed: files below `/run` are as good as others
 */
export function treeSources(tree: FileTree): SourceTableMemory {
  const entries = new Map<ByteString, SourceEntry>();
  const open: [ByteString, Directory][] = [["", tree.root]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [prefix, directory] = next;
    for (const [name, node] of directory.entries) {
      const path = prefix + name;
      // No delta can ask for it, and deep trees have paths of any length.
      if (path.length > TAR_DIFF_LIMITS.path) continue;
      if (node.kind === "directory") {
        entries.set(path, { type: "directory" });
        open.push([`${path}/`, node]);
      } else entries.set(path, leafEntry(node.content));
    }
  }
  return buildSourceTable(entries);
}

/** The released generator's idea of an old image (steps 1 to 3 of spec: oci 7.5). */
export class GeneratorView {
  readonly #paths = new Map<ByteString, SourceEntry>();

  /** Puts the next layer on top, oldest first; reads all of its entries. */
  add(layer: Iterable<TarEntry>): void {
    const files = new Map<ByteString, { entry: SourceEntry; paths: ByteString[] }>();
    const links: [path: ByteString, target: ByteString][] = [];
    const removed: ByteString[] = [];
    const opaque: ByteString[] = [];
    for (const { path: raw, item, stat } of layer) {
      if (raw.length > TAR_DIFF_LIMITS.path) continue;
      const path = cleanPath(raw);
      const slash = path.lastIndexOf("/");
      const name = path.slice(slash + 1);
      if (item.type === "hardlink") links.push([path, cleanPath(item.target)]);
      else if (name === OPAQUE_NAME) opaque.push(path.slice(0, slash + 1));
      else if (name.startsWith(WHITEOUT_PREFIX)) {
        removed.push(path.slice(0, slash + 1) + name.slice(WHITEOUT_PREFIX.length));
      } else if (item.type === "inline" || item.type === "external") {
        const empty = item.type === "inline" ? item.data.length === 0 : item.size === 0;
        if (empty || (stat.mode & OTHERS_READ) === 0) continue;
        files.set(path, { entry: leafEntry(item), paths: [path] });
      }
    }
    for (const [path, target] of links) files.get(target)?.paths.push(path);
    for (const path of removed) this.#paths.delete(path);
    this.#clear(opaque);
    for (const { entry, paths } of files.values()) {
      for (const path of paths) this.#paths.set(path, entry);
    }
  }

  /** Removes what is below any of the directories, each with its final slash. */
  #clear(directories: readonly ByteString[]): void {
    if (directories.length === 0) return;
    const hidden = new Set(directories);
    const isHidden = (path: ByteString) => {
      if (hidden.has("")) return true;
      for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
        if (hidden.has(path.slice(0, at + 1))) return true;
      }
      return false;
    };
    for (const path of [...this.#paths.keys()]) if (isHidden(path)) this.#paths.delete(path);
  }

  /** The files as a table; there are no directories in it. */
  finish(): SourceTableMemory {
    return buildSourceTable(this.#paths);
  }
}

/** The lexically shortest form of a path below the root. */
function cleanPath(path: ByteString): ByteString {
  const parts: ByteString[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}
