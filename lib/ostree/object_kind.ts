/** The kinds of OSTree objects and how their files are named (spec: ostree 2). */
import { DigestMismatchError } from "../base/mod.ts";
import type { Checksum } from "./checksum.ts";

/** Kinds of objects that have a checksum over their content. */
export type ObjectKind = "file" | "dirtree" | "dirmeta" | "commit";

/** Kinds that are stored as they are hashed: everything but files. */
export type MetadataKind = Exclude<ObjectKind, "file">;

/** Number of each kind, as static deltas and `ostree.sizes` write it. */
export const OBJECT_NUMBER: Readonly<Record<ObjectKind, number>> = {
  file: 1,
  dirtree: 2,
  dirmeta: 3,
  commit: 4,
};

/** File name extensions below `objects/`. */
export type ObjectExtension =
  | ObjectKind
  | "filez"
  | "tombstone-commit"
  | "commitmeta"
  | "file-xattrs"
  | "file-xattrs-link";

/** Largest metadata object that is read, in bytes (ostree's limit). */
export const MAX_METADATA_SIZE = 128 * 1024 * 1024;

/** The kind with a number; `undefined` for other numbers. */
export function kindOfNumber(number: number): ObjectKind | undefined {
  for (const kind of ["file", "dirtree", "dirmeta", "commit"] as const) {
    if (OBJECT_NUMBER[kind] === number) return kind;
  }
  return undefined;
}

/** The path of an object's file below `objects/`: two digits, a slash, the rest, the extension. */
export function ostreeObjectPath(checksum: Checksum, extension: ObjectExtension): string {
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.${extension}`;
}

/** The error for an object whose content has another checksum than its name, in ostree's words. */
export function corruptedObject(
  kind: ObjectKind,
  expected: Checksum,
  actual: Checksum,
): DigestMismatchError {
  return new DigestMismatchError(`${kind} object`, expected, actual, {
    message: `Corrupted ${kind} object; checksum expected='${expected}' actual='${actual}'`,
  });
}
