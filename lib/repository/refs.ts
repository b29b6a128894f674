/** References: names below `images/refs` and `streams/refs` (spec: repository 2). */
import { type ByteString, fromByteString, NotFoundError, utf8ByteString } from "../base/mod.ts";
import {
  DT,
  type Fd,
  isErrno,
  lstatAt,
  openDir,
  type PathArg,
  readDir,
  S_IF,
  statAt,
  unlinkAt,
} from "../../ffi/mod.ts";
import { assertWritable, type RepositoryState, syncRepository } from "./_state.ts";
import { placeLink, readLinkText } from "./links.ts";
import { checkEntryName, checkRefName, nameText } from "./names.ts";

/** The two kinds of named things. */
export type Category = "images" | "streams";

/** A reference. */
export interface Ref {
  /** Name below `refs/`. */
  readonly name: string;
  /** Entry of the category that it leads to (last component of the link). */
  readonly entry: string;
  /** Text of the link. */
  readonly text: string;
}

/** A reference where it was found. */
export interface PlacedRef extends Ref {
  /** Path relative to the repository, in bytes: the name may not be text. */
  readonly place: PathArg;
}

/** Something below a category that is neither a directory nor a reference. */
export interface StrayEntry {
  /** Path relative to the repository. */
  readonly path: string;
  /** Type in the reference's words, for example `RegularFile`. */
  readonly fileType: string;
}

/** Type of a {@linkcode StrayEntry} below which there may be references that cannot be reached. */
export const UNREADABLE_DIRECTORY = "Directory";

/**
 * Everything below `<category>/refs`, sorted by path: references and strays. A directory so deep
 * that its path is too long for the kernel is a stray of type {@linkcode UNREADABLE_DIRECTORY}.
 * Names that are not UTF-8 are found too, since collectors must not miss any; they are then not
 * shown as they are.
 *
 * @param below directory of references to which the walk is limited, the empty text for all
 */
export function walkRefs(root: Fd, category: Category, below = ""): (PlacedRef | StrayEntry)[] {
  const out: (PlacedRef | StrayEntry)[] = [];
  const pending: ByteString[] = [utf8ByteString(below)];
  const base = `${category}/refs`;
  for (let prefix = pending.pop(); prefix !== undefined; prefix = pending.pop()) {
    const directory = fromByteString(`${base}${prefix === "" ? "" : "/" + prefix}`);
    let entries;
    try {
      using fd = openDir(root, directory);
      entries = readDir(fd);
    } catch (error) {
      if (isErrno(error, "ENOENT")) continue;
      if (!isErrno(error, "ENOTDIR", "ENAMETOOLONG")) throw error;
      const kind = isErrno(error, "ENAMETOOLONG") ? DT.DIR : typeOf(root, directory);
      const path = `${base}${prefix === "" ? "" : "/" + nameText(prefix)}`;
      out.push({ path, fileType: FILE_TYPES[kind] ?? "Unknown" });
      continue;
    }
    for (const { name: last, type } of entries) {
      const raw: ByteString = prefix === "" ? last : `${prefix}/${last}`;
      const place = fromByteString(`${base}/${raw}`);
      const name = nameText(raw);
      const kind = type === DT.UNKNOWN ? typeOf(root, place) : type;
      if (kind === DT.DIR) pending.push(raw);
      else if (kind === DT.LNK) {
        const text = readLinkText(root, place) ?? "";
        out.push({ name, entry: text.slice(text.lastIndexOf("/") + 1), text, place });
      } else out.push({ path: `${base}/${name}`, fileType: FILE_TYPES[kind] ?? "Unknown" });
    }
  }
  const key = (item: PlacedRef | StrayEntry) => "name" in item ? item.name : item.path;
  return out.sort((a, b) => key(a) < key(b) ? -1 : 1);
}

/** File types as the reference prints them. */
const FILE_TYPES: Readonly<Record<number, string>> = {
  [DT.REG]: "RegularFile",
  [DT.DIR]: UNREADABLE_DIRECTORY,
  [DT.LNK]: "Symlink",
  [DT.FIFO]: "Fifo",
  [DT.SOCK]: "Socket",
  [DT.CHR]: "CharacterDevice",
  [DT.BLK]: "BlockDevice",
};

function typeOf(root: Fd, path: PathArg): number {
  const stat = lstatAt(root, path);
  if (stat === undefined) return DT.UNKNOWN;
  // The directory entry types are the mode's type bits, moved down (IFTODT of dirent.h).
  return (stat.mode & S_IF.MT) / 0o10000;
}

/** All references of a category, or those below one of its directories, sorted by name. */
export function listRefs(state: RepositoryState, category: Category, below = ""): Ref[] {
  if (below !== "") checkRefName(below);
  return walkRefs(state.root, category, below).filter((item): item is PlacedRef => "name" in item);
}

/**
 * Makes a reference lead to an entry that is there.
 *
 * @throws {NotFoundError} when the entry is not there
 */
export function setRef(
  state: RepositoryState,
  category: Category,
  ref: { name: string; entry: string },
): void {
  checkRefName(ref.name);
  checkEntryName(ref.entry);
  assertWritable(state);
  if (statAt(state.root, `${category}/${ref.entry}`) === undefined) {
    throw new NotFoundError(category.slice(0, -1), ref.entry);
  }
  placeLink(state.root, `${category}/refs/${ref.name}`, `${category}/${ref.entry}`);
  syncRepository(state);
}

/** The entry that a reference leads to, `undefined` when there is no such reference. */
export function resolveRef(
  state: RepositoryState,
  category: Category,
  name: string,
): string | undefined {
  checkRefName(name);
  const text = readLinkText(state.root, `${category}/refs/${name}`);
  return text === undefined ? undefined : text.slice(text.lastIndexOf("/") + 1);
}

/** Removes a reference; false when it was not there. */
export function removeRef(state: RepositoryState, category: Category, name: string): boolean {
  checkRefName(name);
  assertWritable(state);
  const path = `${category}/refs/${name}`;
  if (readLinkText(state.root, path) === undefined) return false;
  const removed = unlinkAt(state.root, path);
  syncRepository(state);
  return removed;
}
