/** Entries of `images/` and `streams/`: links to objects (spec: repository 2.1). */
import {
  FormatError,
  HASH_SIZE,
  type HashName,
  type ObjectId,
  parseObjectId,
} from "../base/mod.ts";
import { DT, type Fd, isErrno, openDir, readDir } from "../../ffi/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { readLinkText } from "./links.ts";
import { nameText } from "./names.ts";
import type { Category } from "./refs.ts";

/** The object that a link text ends in (`XX/YYYY…`), whatever stands before it. */
function objectOfLink(text: string, hash: HashName): ObjectId {
  const tail = text.slice(-(HASH_SIZE[hash] * 2 + 1));
  if (tail.length !== HASH_SIZE[hash] * 2 + 1 || tail[2] !== "/") {
    throw new FormatError("link", `invalid object pathname: ${text}`);
  }
  return parseObjectId(tail.slice(0, 2) + tail.slice(3), hash);
}

/**
 * The object of an entry.
 *
 * @returns `undefined` when there is no such entry
 * @throws {FormatError} when it is no link to an object
 */
export function entryObject(
  state: RepositoryState,
  category: Category,
  entry: string,
): ObjectId | undefined {
  const text = readLinkText(state.root, `${category}/${entry}`);
  if (text === undefined) return undefined;
  if (category === "streams" && !text.startsWith("../")) {
    throw new FormatError("link", `stream symlink has incorrect prefix: ${text}`);
  }
  return objectOfLink(text, state.algorithm.hash);
}

/** An entry of a category as it is on disk. */
export interface CategoryEntry {
  /** Its name. */
  readonly name: string;
  /** Whether it is a symbolic link, as it should be. */
  readonly isLink: boolean;
}

/** The entries of a category without `refs`, sorted by name. */
export function listEntries(root: Fd, category: Category): CategoryEntry[] {
  let entries;
  try {
    using fd = openDir(root, category);
    entries = readDir(fd);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
  return entries
    .map(({ name, type }) => ({ name: nameText(name), type }))
    .filter(({ name }) => name !== "refs")
    .map(({ name, type }) => ({
      name,
      isLink: type === DT.UNKNOWN
        ? readLinkText(root, `${category}/${name}`) !== undefined
        : type === DT.LNK,
    }))
    .sort((a, b) => a.name < b.name ? -1 : 1);
}
