/** Directory tree objects (spec: ostree 2.2, 6.1). */
import {
  type ByteString,
  displayByteString,
  FormatError,
  fromByteString,
  utf8ByteString,
} from "../base/mod.ts";
import { type Checksum, checksumBytes, checksumFromBytes } from "./checksum.ts";
import { decodeVariant } from "./variant_read.ts";
import { encodeVariant } from "./variant_write.ts";

/** Variant type of a dirtree object. */
export const DIRTREE_TYPE = "(a(say)a(sayay))";

const FORMAT = "ostree dirtree";
const MAX_NAME = 255;

/** A file or symbolic link in a directory. */
export interface TreeFile {
  /** Its name, UTF-8. */
  readonly name: ByteString;
  /** The file object. */
  readonly checksum: Checksum;
}

/** A directory in a directory. */
export interface TreeDirectory {
  /** Its name, UTF-8. */
  readonly name: ByteString;
  /** Its dirtree object. */
  readonly tree: Checksum;
  /** Its dirmeta object. */
  readonly meta: Checksum;
}

/** The entries of one directory, each list sorted by bytes of the name. */
export interface DirTree {
  /** Files and symbolic links. */
  readonly files: readonly TreeFile[];
  /** Directories. */
  readonly dirs: readonly TreeDirectory[];
}

/**
 * Checks a file name as OSTree does.
 *
 * @throws {FormatError} in ostree's words
 */
export function checkFileName(name: ByteString): void {
  if (name === "") throw new FormatError(FORMAT, "Invalid empty filename");
  if (name === ".") throw new FormatError(FORMAT, "Invalid self-referential filename '.'");
  if (name === "..") throw new FormatError(FORMAT, "Invalid path uplink filename '..'");
  if (name.includes("/")) {
    throw new FormatError(FORMAT, `Invalid / in filename ${displayByteString(name)}`);
  }
  if (name.length > MAX_NAME) {
    throw new FormatError(FORMAT, `Invalid filename of ${name.length} bytes`);
  }
}

/**
 * Parses a dirtree object.
 *
 * @throws {FormatError} when it is not in normal form, or names are invalid, unsorted or twice there
 */
export function parseDirTree(bytes: Uint8Array): DirTree {
  const [rawFiles, rawDirs] = decodeVariant(DIRTREE_TYPE, bytes) as unknown as [
    readonly [string, Uint8Array][],
    readonly [string, Uint8Array, Uint8Array][],
  ];
  const files = rawFiles.map(([name, sum]): TreeFile => ({
    name: utf8ByteString(name),
    checksum: checksumFromBytes(sum),
  }));
  const dirs = rawDirs.map(([name, tree, meta]): TreeDirectory => ({
    name: utf8ByteString(name),
    tree: checksumFromBytes(tree),
    meta: checksumFromBytes(meta),
  }));
  checkEntries(files, dirs);
  return { files, dirs };
}

/** Checks names, and that each list is sorted and no name is in both. */
function checkEntries(files: readonly TreeFile[], dirs: readonly TreeDirectory[]): void {
  checkSorted(files);
  checkSorted(dirs);
  for (let i = 0, j = 0; i < files.length && j < dirs.length;) {
    const [file, dir] = [files[i]!.name, dirs[j]!.name];
    if (file === dir) throw duplicate(file);
    if (file < dir) i++;
    else j++;
  }
}

function checkSorted(entries: readonly { readonly name: ByteString }[]): void {
  let previous = "";
  for (const { name } of entries) {
    checkFileName(name);
    if (name === previous) throw duplicate(name);
    if (name < previous) {
      const shown = displayByteString(name);
      throw new FormatError(FORMAT, `Invalid dirtree: filename '${shown}' is not in order`);
    }
    previous = name;
  }
}

function duplicate(name: ByteString): FormatError {
  return new FormatError(
    FORMAT,
    `Invalid dirtree: duplicate filename '${displayByteString(name)}'`,
  );
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The text of a byte string that an object is to hold.
 *
 * @throws {FormatError} `non-UTF8 filename: …` when it is not UTF-8
 */
export function utf8Text(bytes: ByteString, what = "filename"): string {
  try {
    return decoder.decode(fromByteString(bytes));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new FormatError(FORMAT, `non-UTF8 ${what}: ${displayByteString(bytes)}`);
  }
}

/**
 * Serializes a dirtree object; the lists are sorted here.
 *
 * @throws {FormatError} when names are invalid or twice there
 */
export function encodeDirTree(tree: DirTree): Uint8Array<ArrayBuffer> {
  const files = [...tree.files].sort(byName);
  const dirs = [...tree.dirs].sort(byName);
  checkEntries(files, dirs);
  return encodeVariant(DIRTREE_TYPE, [
    files.map(({ name, checksum }) => [utf8Text(name), checksumBytes(checksum)]),
    dirs.map(({ name, tree, meta }) => [
      utf8Text(name),
      checksumBytes(tree),
      checksumBytes(meta),
    ]),
  ]);
}

function byName(a: { readonly name: ByteString }, b: { readonly name: ByteString }): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
