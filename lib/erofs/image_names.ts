/**
 * Checks of directory entries, and names in messages (spec: erofs 8.2).
 *
 * @module
 */
import { type ByteString, displayByteString, FormatError } from "../base/mod.ts";
import type { DirectoryCursor } from "./directory.ts";
import { DIRENT_TYPE, S_IF, S_IFMT } from "./layout.ts";
import { invalidImage } from "./read.ts";

const SLASH = 0x2f;
/** The longest file name that Linux has, bytes. */
const NAME_MAX = 255;

/** The directory entry type that belongs to each file type of a mode. */
const TYPE_OF_MODE: ReadonlyMap<number, number> = new Map(
  (Object.keys(DIRENT_TYPE) as (keyof typeof DIRENT_TYPE)[]).map((
    kind,
  ) => [S_IF[kind], DIRENT_TYPE[kind]]),
);
/** An entry that does not tell the type of its inode. */
const TYPE_UNKNOWN = 0;

/** A name in double quotes, for messages. */
export function quoteName(name: ByteString): string {
  const text = displayByteString(name).replace(/["\\]/g, "\\$&");
  // deno-lint-ignore no-control-regex -- control characters are what this is for
  return `"${text.replace(/[\x00-\x1f\x7f]/g, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`)}"`;
}

/**
 * Checks the current name: 1 to 255 bytes without `/` and NUL.
 *
 * @throws {FormatError} `Invalid image: …`
 */
export function checkName(bytes: Uint8Array, entry: DirectoryCursor): void {
  const { nameStart, nameEnd } = entry;
  const length = nameEnd - nameStart;
  if (length === 0) throw invalidImage("empty name in directory", nameStart);
  if (length > NAME_MAX) {
    throw invalidImage(`name of ${length} bytes in directory (max ${NAME_MAX})`, nameStart);
  }
  for (let i = nameStart; i < nameEnd; i++) {
    const byte = bytes[i]!;
    if (byte !== SLASH && byte !== 0) continue;
    const what = byte === 0 ? "NUL" : "'/'";
    throw invalidImage(`name ${quoteName(entry.name)} in directory contains ${what}`, i);
  }
  if (entry.hasJunk) {
    throw invalidImage(`name ${quoteName(entry.name)} in directory is followed by NUL`, nameEnd);
  }
}

/**
 * Checks that the current name comes after the one at `bytes[start, end)` in byte order.
 *
 * @throws {FormatError} `Duplicate directory entry "n"`, `Invalid image: …`
 */
export function checkOrder(
  bytes: Uint8Array,
  entry: DirectoryCursor,
  previous: { readonly start: number; readonly end: number },
): void {
  const length = entry.nameEnd - entry.nameStart;
  const previousLength = previous.end - previous.start;
  const common = Math.min(length, previousLength);
  let order = 0;
  for (let i = 0; i < common && order === 0; i++) {
    order = bytes[entry.nameStart + i]! - bytes[previous.start + i]!;
  }
  if (order === 0) order = length - previousLength;
  if (order > 0) return;
  const name = quoteName(entry.name);
  if (order < 0) throw invalidImage(`directory entry ${name} is not in order`, entry.nameStart);
  throw new FormatError("erofs", `Duplicate directory entry ${name}`, { offset: entry.nameStart });
}

/**
 * Checks that the file type of a mode exists and that the directory entry tells the same type.
 *
 * @throws {FormatError} `unknown file type 0oN for "n"`, `Invalid image: …`
 */
export function checkType(entry: DirectoryCursor, mode: number): void {
  const type = TYPE_OF_MODE.get(mode & S_IFMT);
  if (type === undefined) {
    const octal = (mode & S_IFMT).toString(8);
    throw new FormatError("erofs", `unknown file type 0o${octal} for ${quoteName(entry.name)}`);
  }
  if (entry.type === type || entry.type === TYPE_UNKNOWN) return;
  throw invalidImage(
    `directory entry ${quoteName(entry.name)} has file type ${entry.type}, its inode ${type}`,
  );
}
