/**
 * Which objects an image needs (spec: erofs 5.4).
 *
 * @module
 */
import {
  type ByteString,
  FormatError,
  HASH_SIZE,
  type HashName,
  type ObjectId,
  objectIdFromBytes,
} from "../base/mod.ts";
import { DigestList } from "./digests.ts";
import { hashOfMetacopy, isPathOf, metacopyFault, readObjectPath } from "./external.ts";
import { METACOPY_SIZE } from "./layout.ts";
import { type ErofsImage, openImage } from "./read.ts";
import type { InodeCursor } from "./read_inode.ts";
import { XattrCursor } from "./read_xattrs.ts";
import { brokenRule } from "./structure.ts";
import { walkInodes, walkNames } from "./walk.ts";

/** How to list the objects of an image. */
export interface ListObjectsOptions {
  /** The hash function of the objects. @default that of the first digest in the image */
  readonly hash?: HashName;
  /** Whether to check the rules of {@linkcode checkStructure} first. @default true */
  readonly structure?: boolean;
}

/** Thrown to end a walk early; never leaves this file. */
const FOUND = Symbol("found");

/**
 * Finds the hash function of an image from the length of its first digest (spec: erofs 8.4).
 *
 * @returns the hash function, or undefined when the image names no object
 * @throws {FormatError} when the image is not readable
 */
export function detectHash(image: ErofsImage): HashName | undefined {
  const xattrs = new XattrCursor(image);
  const scratch = { bytes: new Uint8Array(HASH_SIZE.sha512), offset: 0 };
  let found: HashName | undefined;
  let fromPath: HashName | undefined;
  try {
    walkInodes(image, {
      inode(inode) {
        if (inode.xattrSize === 0) return;
        xattrs.open(inode);
        while (xattrs.next()) {
          if (xattrs.isMetacopy) {
            found = hashOfMetacopy(xattrs.valueEnd - xattrs.valueStart);
            if (found !== undefined) throw FOUND;
          } else if (fromPath === undefined && xattrs.isRedirect) {
            fromPath = (["sha512", "sha256"] as const)
              .find((hash) => readObjectPath(xattrs.value, hash, scratch));
          }
        }
      },
    });
  } catch (error) {
    // Our own signal that the answer is known.
    if (error !== FOUND) throw error;
  }
  return found ?? fromPath;
}

/**
 * Calls `found` after each digest that the inode names was put into `list`'s room.
 * Values that are not valid name nothing.
 */
function readDigests(
  xattrs: XattrCursor,
  options: { readonly hash: HashName; readonly list: DigestList; readonly found: () => void },
): void {
  const { hash, list, found } = options;
  let metacopy: Uint8Array | undefined;
  while (xattrs.next()) {
    if (xattrs.isMetacopy) {
      const value = xattrs.value;
      if (metacopyFault(value, hash) !== undefined) continue;
      metacopy = value.subarray(METACOPY_SIZE);
      const { bytes, offset } = list.room();
      bytes.set(metacopy, offset);
      found();
    } else if (xattrs.isRedirect) {
      const value = xattrs.value;
      // Nearly every redirect repeats the digest: comparing is cheaper than sorting it out later.
      if (metacopy !== undefined && isPathOf(value, metacopy)) continue;
      if (readObjectPath(value, hash, list.room())) found();
    }
  }
}

/**
 * Lists the objects that the files of an image need: the digests of all valid metacopy attributes
 * and all redirects that are object paths, so also those of files without a digest. Names and link
 * counts are not looked at, so the list is complete even where the image cannot be read as a tree.
 *
 * @param image the image
 * @param options the hash function, and whether to check the structure
 * @returns the object ids, each once, in byte order
 * @throws {FormatError} when the image is not readable or breaks a rule of spec erofs 5.5
 */
export function listObjects(image: ErofsImage, options: ListObjectsOptions = {}): ObjectId[] {
  if (options.structure !== false) {
    const broken = brokenRule(image);
    if (broken !== undefined) throw new FormatError("erofs", `Invalid image: ${broken}`);
  }
  const hash = options.hash ?? detectHash(image);
  if (hash === undefined) return [];
  const xattrs = new XattrCursor(image);
  const list = new DigestList(hash);
  const found = () => list.commit();
  const visit = { hash, list, found };
  walkInodes(image, {
    inode(inode: InodeCursor) {
      if (inode.xattrSize === 0) return;
      xattrs.open(inode);
      readDigests(xattrs, visit);
    },
  });
  return list.sortedUnique();
}

/**
 * Opens an image and lists its objects, for callers that need nothing else of it.
 *
 * @param bytes the whole image
 * @param options as for {@linkcode listObjects}
 * @returns the object ids, each once, in byte order
 * @throws {FormatError} as {@linkcode openImage} and {@linkcode listObjects}
 */
export function listImageObjects(
  bytes: Uint8Array,
  options: ListObjectsOptions = {},
): ObjectId[] {
  return listObjects(openImage(bytes), options);
}

/**
 * Finds for each of the given objects one path in the image that needs it.
 *
 * @param image the image
 * @param ids the objects to look for, all of one hash function
 * @returns the absolute path by object; objects that the image does not need are not in it
 * @throws {FormatError} when the image is not readable
 */
export function findObjectUsers(
  image: ErofsImage,
  ids: ReadonlySet<ObjectId>,
): Map<ObjectId, ByteString> {
  const users = new Map<ObjectId, ByteString>();
  const [first] = ids;
  if (first === undefined) return users;
  const hash: HashName = first.length === 2 * HASH_SIZE.sha256 ? "sha256" : "sha512";
  const xattrs = new XattrCursor(image);
  const list = new DigestList(hash);
  walkNames(image, (inode, path) => {
    if (inode.xattrSize === 0) return true;
    xattrs.open(inode);
    const found = () => {
      // Not committed: the room is used again for the next digest.
      const { bytes, offset } = list.room();
      const id = objectIdFromBytes(bytes, offset, offset + list.size);
      if (ids.has(id) && !users.has(id)) users.set(id, path());
    };
    readDigests(xattrs, { hash, list, found });
    return users.size < ids.size;
  });
  return users;
}
