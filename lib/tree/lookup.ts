import {
  type ByteString,
  ConflictError,
  displayByteString,
  InvalidNameError,
  NotFoundError,
} from "../base/mod.ts";
import type { Directory, Leaf, Node } from "./tree.ts";

/** Quotes a name for a message. */
function quoted(name: ByteString): string {
  return `"${displayByteString(name)}"`;
}

/** The components of a path; a leading slash and repeated slashes mean nothing. */
function components(path: ByteString): ByteString[] {
  const parts = path.split("/").filter((part) => part !== "");
  if (parts[0] === "." && !path.startsWith("/")) {
    throw new InvalidNameError(`Invalid filename ${quoted(path)}`);
  }
  const kept = parts.filter((part) => part !== ".");
  if (kept.includes("..")) throw new InvalidNameError(`Invalid filename ${quoted(path)}`);
  return kept;
}

function child(directory: Directory, name: ByteString): Node {
  const node = directory.entries.get(name);
  if (node === undefined) {
    throw new NotFoundError("directory entry", name, {
      message: `Directory entry ${quoted(name)} does not exist`,
    });
  }
  return node;
}

function descend(directory: Directory, parts: readonly ByteString[]): Directory {
  let current = directory;
  for (const part of parts) {
    const node = child(current, part);
    if (node.kind !== "directory") {
      throw new ConflictError(`Directory entry ${quoted(part)} is not a subdirectory`);
    }
    current = node;
  }
  return current;
}

/**
 * Finds a directory below another one (spec: erofs 1.1). Symbolic links are not followed.
 *
 * @param path components separated by slashes; a leading slash means nothing
 * @throws {NotFoundError} when a component does not exist
 * @throws {ConflictError} when a component is not a directory
 * @throws {InvalidNameError} when the path has `..` components
 */
export function lookupDirectory(directory: Directory, path: ByteString): Directory {
  return descend(directory, components(path));
}

/**
 * Finds a directory, or says that its last component is not there.
 *
 * @returns the directory, or `undefined` when any component does not exist
 * @throws {ConflictError} when a component is not a directory
 * @throws {InvalidNameError} when the path has `..` components
 */
export function findDirectory(directory: Directory, path: ByteString): Directory | undefined {
  try {
    return lookupDirectory(directory, path);
  } catch (error) {
    // Absence is a result here, not a failure.
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

/**
 * Finds the node at a path. Symbolic links are not followed.
 *
 * @throws {NotFoundError} when a component does not exist
 * @throws {ConflictError} when a component before the last is not a directory
 * @throws {InvalidNameError} when the path has `..` components
 */
export function lookupNode(directory: Directory, path: ByteString): Node {
  const parts = components(path);
  const name = parts.pop();
  if (name === undefined) return directory;
  return child(descend(directory, parts), name);
}

/**
 * Finds the leaf at a path. Symbolic links are not followed.
 *
 * @throws {NotFoundError} when a component does not exist
 * @throws {ConflictError} when a component before the last is not a directory, or the last is one
 * @throws {InvalidNameError} when the path names no entry or has `..` components
 */
export function lookupLeaf(directory: Directory, path: ByteString): Leaf {
  const parts = components(path);
  const name = parts.pop();
  if (name === undefined) throw new InvalidNameError(`Invalid filename ${quoted(path)}`);
  const node = child(descend(directory, parts), name);
  if (node.kind === "directory") {
    throw new ConflictError(`Directory entry ${quoted(name)} is a directory`);
  }
  return node;
}

/**
 * Finds the regular file at a path. Symbolic links are not followed.
 *
 * @throws {NotFoundError} when a component does not exist
 * @throws {ConflictError} when the path leads to something else than a regular file
 * @throws {InvalidNameError} when the path names no entry or has `..` components
 */
export function lookupRegularFile(directory: Directory, path: ByteString): Leaf {
  const leaf = lookupLeaf(directory, path);
  switch (leaf.content.type) {
    case "inline":
    case "external":
    case "external-no-verity":
    case "sparse":
      return leaf;
    default: {
      const name = path.slice(path.replace(/\/+$/, "").lastIndexOf("/") + 1);
      throw new ConflictError(`Directory entry ${quoted(name)} is not a regular file`);
    }
  }
}

/**
 * Puts a node into a directory (spec: erofs 1.1): a directory over a directory keeps the entries
 * that are there and only replaces the metadata, anything else replaces the entry.
 *
 * @returns the node that the directory now holds under the name
 */
export function mergeEntry(
  directory: Directory,
  name: ByteString,
  options: { readonly node: Node },
): Node {
  const { node } = options;
  const old = directory.entries.get(name);
  if (node.kind === "directory" && old?.kind === "directory") {
    old.stat = node.stat;
    return old;
  }
  directory.entries.set(name, node);
  return node;
}
