import { type ByteString, objectPath } from "../base/mod.ts";
import {
  countLinks,
  type Directory,
  type FileTree,
  type Leaf,
  type LeafContent,
  type Node,
  type Stat,
  type Xattrs,
} from "../tree/mod.ts";
import { escapeContent, escapeField, escapeText, escapeXattr } from "./escape.ts";

/** Lines are handed out in pieces of about this many characters. */
const BATCH = 64 * 1024;
const DIRECTORY_TYPE = 0o040000;
const TYPE: Readonly<Record<LeafContent["type"], number>> = {
  inline: 0o100000,
  external: 0o100000,
  "external-no-verity": 0o100000,
  sparse: 0o100000,
  symlink: 0o120000,
  block: 0o060000,
  char: 0o020000,
  fifo: 0o010000,
  socket: 0o140000,
};

/** Options of {@linkcode formatEntry}. */
export interface FormatEntryOptions {
  /** Link count to show. @default 1 */
  nlink?: number;
}

/**
 * Formats one entry (spec: erofs 2).
 *
 * @param path absolute path; the empty path becomes `-`
 * @returns the line in ASCII, with its newline
 */
export function formatEntry(
  path: ByteString,
  node: Node,
  options: FormatEntryOptions = {},
): string {
  const xattrs = formatXattrs(node.stat.xattrs);
  return formatLine(escapeField(path), node, { nlink: options.nlink ?? 1, xattrs });
}

/**
 * Formats a further name of a file (spec: erofs 2.2).
 *
 * @param target the path under which the file was written in full
 * @returns the line in ASCII, with its newline
 */
export function formatHardlink(path: ByteString, target: ByteString): string {
  return hardlinkLine(escapeField(path), escapeField(target));
}

/**
 * Formats a tree (spec: erofs 2.2): depth-first, names in byte order, a file with several names in
 * full at its first one.
 *
 * @returns pieces of about 64 KiB of ASCII; each ends with a newline
 */
export function* formatDumpfile(tree: FileTree): Generator<string, void, undefined> {
  const links = countLinks(tree);
  const firstPaths = new Map<Leaf, string>();
  const xattrsOf = new Map<Xattrs, string>();
  const line = (path: string, node: Node, nlink: number): string => {
    const set = node.stat.xattrs;
    let xattrs = xattrsOf.get(set);
    if (xattrs === undefined) xattrsOf.set(set, xattrs = formatXattrs(set));
    return formatLine(path, node, { nlink, xattrs });
  };
  let batch = line("/", tree.root, directoryLinks(tree.root));
  const stack = [{ directory: tree.root, names: tree.root.sortedNames(), next: 0, prefix: "/" }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    if (top.next === top.names.length) {
      stack.pop();
      continue;
    }
    const name = top.names[top.next++]!;
    const node = top.directory.entries.get(name)!;
    const path = top.prefix + escapeText(name);
    if (node.kind === "directory") {
      batch += line(path, node, directoryLinks(node));
      stack.push({ directory: node, names: node.sortedNames(), next: 0, prefix: path + "/" });
    } else {
      const nlink = links.get(node)!;
      const first = nlink > 1 ? firstPaths.get(node) : undefined;
      if (first === undefined) {
        if (nlink > 1) firstPaths.set(node, path);
        batch += line(path, node, nlink);
      } else {
        batch += hardlinkLine(path, first);
      }
    }
    if (batch.length >= BATCH) {
      yield batch;
      batch = "";
    }
  }
  if (batch !== "") yield batch;
}

function directoryLinks(directory: Directory): number {
  let links = 2;
  for (const node of directory.entries.values()) if (node.kind === "directory") links++;
  return links;
}

function hardlinkLine(path: string, target: string): string {
  return `${path} 0 @120000 - - - - 0.0 ${target} - -\n`;
}

/** The attributes as fields, each with a space before it, in byte order of the names. */
function formatXattrs(xattrs: Xattrs): string {
  if (xattrs.size === 0) return "";
  let out = "";
  for (const name of [...xattrs.keys()].sort()) {
    out += ` ${escapeXattr(name)}=${escapeXattr(xattrs.get(name)!)}`;
  }
  return out;
}

function formatLine(
  path: string,
  node: Node,
  options: { readonly nlink: number; readonly xattrs: string },
): string {
  const { stat } = node;
  if (node.kind === "directory") {
    const head = formatHead(DIRECTORY_TYPE, stat, { size: 0, nlink: options.nlink, rdev: 0 });
    return `${path} ${head} - - -${options.xattrs}\n`;
  }
  const { content } = node;
  let size = 0;
  let rdev = 0;
  let data = "- - -";
  switch (content.type) {
    case "inline":
      size = content.data.length;
      data = `- ${escapeContent(content.data)} -`;
      break;
    case "external":
      size = content.size;
      data = `${objectPath(content.digest)} - ${content.digest}`;
      break;
    case "external-no-verity":
      size = content.size;
      data = `${objectPath(content.digest)} - -`;
      break;
    case "sparse":
      size = content.size;
      break;
    case "symlink":
      size = content.target.length;
      data = `${escapeField(content.target)} - -`;
      break;
    case "block":
    case "char":
      rdev = content.rdev;
      break;
    default:
      break;
  }
  const head = formatHead(TYPE[content.type], stat, { size, nlink: options.nlink, rdev });
  return `${path} ${head} ${data}${options.xattrs}\n`;
}

/** The fields from the size to the time. */
function formatHead(
  type: number,
  stat: Stat,
  numbers: { readonly size: number; readonly nlink: number; readonly rdev: number },
): string {
  const mode = (type + stat.mode).toString(8);
  return `${numbers.size} ${mode} ${numbers.nlink} ${stat.uid} ${stat.gid} ${numbers.rdev} ` +
    `${stat.mtimeSec}.${stat.mtimeNsec}`;
}
