/**
 * From the extended attributes of an inode to those of the tree (spec: erofs 1.5, 5.3, 8.3).
 *
 * @module
 */
import { type ByteString, toByteString } from "../base/mod.ts";
import { NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import type { Claims } from "./claims.ts";
import { type ErofsImage, invalidImage } from "./read.ts";
import type { InodeCursor } from "./read_inode.ts";
import { XattrCursor } from "./read_xattrs.ts";

const OVERLAY = "trusted.overlay.";
const ESCAPED = "trusted.overlay.overlay.";

/** An attribute that the writer adds; one with this name and value is left out when reading. */
interface Mark {
  /** Name in the tree, that is without the escape. */
  readonly name: ByteString;
  /** Value. */
  readonly value: ByteString;
}

/** What the writer adds to a file that stands for a whiteout (spec: erofs 4.3). */
export const WHITEOUT_MARKS: readonly Mark[] = [
  { name: "trusted.overlay.whiteout", value: "" },
  { name: "user.overlay.whiteout", value: "" },
];

/** What the writer adds to the directory of such a file, in format 0. */
export const PARENT_MARKS_V0: readonly Mark[] = [
  { name: "trusted.overlay.whiteouts", value: "" },
  { name: "user.overlay.whiteouts", value: "" },
];

/** The same in format 1. */
export const PARENT_MARKS_V1: readonly Mark[] = [
  ...PARENT_MARKS_V0,
  { name: "trusted.overlay.opaque", value: "x" },
  { name: "user.overlay.opaque", value: "x" },
];

/** No marks. */
export const NO_MARKS: readonly Mark[] = [];

/** An attribute in the tree's terms; `name` is undefined for one that only overlayfs uses. */
interface Attribute {
  readonly name: ByteString | undefined;
  readonly value: ByteString;
}

function treeName(name: ByteString): ByteString | undefined {
  if (!name.startsWith(OVERLAY)) return name;
  return name.startsWith(ESCAPED) ? OVERLAY + name.slice(ESCAPED.length) : undefined;
}

/** Reads the extended attributes of one inode after another; shared ones are decoded once. */
export class XattrReader {
  readonly #cursor: XattrCursor;
  readonly #claims: Claims;
  readonly #shared = new Map<number, Attribute>();
  /** Complete results for inodes that have a single, shared attribute. */
  readonly #single = new Map<Attribute, Xattrs>();
  /** Value of `trusted.overlay.metacopy` of the inode read last, a view of the image. */
  metacopy: Uint8Array | undefined;
  /** Value of `trusted.overlay.redirect` of the inode read last, a view of the image. */
  redirect: Uint8Array | undefined;

  /** Creates a reader that charges what it decodes to `claims`. */
  constructor(image: ErofsImage, claims: Claims) {
    this.#cursor = new XattrCursor(image);
    this.#claims = claims;
  }

  /** Whether the inode has the mark of an escaped whiteout. */
  hasWhiteoutMark(inode: InodeCursor): boolean {
    const cursor = this.#cursor;
    cursor.open(inode);
    while (cursor.next()) {
      if (cursor.isWhiteoutMark) return true;
    }
    return false;
  }

  /**
   * Reads the attributes of an inode; afterwards {@linkcode XattrReader.metacopy} and
   * {@linkcode XattrReader.redirect} are those of the inode.
   *
   * @param marks what to leave out, each at most once
   * @returns the attributes of the tree; may be shared between inodes
   * @throws {FormatError} when the attributes are not readable or a name occurs twice
   */
  read(inode: InodeCursor, marks: readonly Mark[]): Xattrs {
    this.metacopy = undefined;
    this.redirect = undefined;
    if (inode.xattrSize === 0) return NO_XATTRS;
    const cursor = this.#cursor;
    let first: Attribute | undefined;
    let result: Map<ByteString, ByteString> | undefined;
    let dropped = 0;
    cursor.open(inode);
    while (cursor.next()) {
      if (cursor.isMetacopy) {
        if (this.metacopy !== undefined) throw this.#duplicate(cursor.name);
        this.metacopy = cursor.value;
        continue;
      }
      if (cursor.isRedirect) {
        if (this.redirect !== undefined) throw this.#duplicate(cursor.name);
        this.redirect = cursor.value;
        continue;
      }
      const shared = cursor.shared >= 0;
      const attribute = shared ? this.#sharedAttribute(cursor) : this.#attribute(cursor);
      if (attribute.name === undefined) continue;
      if (marks.length > 0) {
        const mark = marks.findIndex((m, i) =>
          (dropped & (1 << i)) === 0 && m.name === attribute.name && m.value === attribute.value
        );
        if (mark >= 0) {
          dropped |= 1 << mark;
          continue;
        }
      }
      if (first === undefined && result === undefined && shared) {
        first = attribute;
        continue;
      }
      if (result === undefined) {
        result = new Map();
        if (first !== undefined) result.set(first.name!, first.value);
      }
      if (result.has(attribute.name)) throw this.#duplicate(attribute.name);
      result.set(attribute.name, attribute.value);
    }
    if (result !== undefined) return result;
    return first === undefined ? NO_XATTRS : this.#singleton(first);
  }

  #duplicate(name: ByteString): Error {
    return invalidImage(`extended attribute ${name} occurs twice in an inode`, this.#cursor.offset);
  }

  #attribute(cursor: XattrCursor): Attribute {
    return { name: treeName(cursor.name), value: toByteString(cursor.value) };
  }

  #sharedAttribute(cursor: XattrCursor): Attribute {
    const known = this.#shared.get(cursor.shared);
    if (known !== undefined) return known;
    this.#claims.spend(cursor.size);
    const attribute = this.#attribute(cursor);
    this.#shared.set(cursor.shared, attribute);
    return attribute;
  }

  #singleton(attribute: Attribute): Xattrs {
    let xattrs = this.#single.get(attribute);
    if (xattrs === undefined) {
      xattrs = new Map([[attribute.name!, attribute.value]]);
      this.#single.set(attribute, xattrs);
    }
    return xattrs;
  }
}
