import { type ByteString, fromByteString, type HashName, type ObjectId } from "../base/mod.ts";
import type { LeafContent } from "../tree/mod.ts";

/** A fault in the fields of a regular file; the parser adds the line. */
export class RegularFault extends Error {}

/** The fields that decide what a regular file holds; `undefined` for `-`. */
export interface RegularFields {
  /** Announced size in bytes. */
  size: number;
  /** Object path. */
  payload: ByteString | undefined;
  /** Inline bytes. */
  content: ByteString | undefined;
  /** Digest in hex of either case, not checked. */
  digest: ByteString | undefined;
}

const INLINE_MAX = { rs: 512, c: 5000 } as const;
const HEX_LENGTH: Readonly<Record<HashName, number>> = { sha256: 64, sha512: 128 };
const EMPTY: LeafContent = { type: "inline", data: new Uint8Array(0) };

/** For each byte: whether it is a lower-case hex digit. */
const LOWER_HEX = Uint8Array.from(
  { length: 256 },
  (_, byte) => (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66) ? 1 : 0,
);

function isLowerHex(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (LOWER_HEX[text.charCodeAt(i)] !== 1) return false;
  }
  return true;
}

/** Decides what regular files hold (spec: erofs 2, 6). */
export class RegularFiles {
  readonly #c: boolean;
  #hash: HashName | undefined;
  /**
   * What the last file's redirect is, where it is not the path of its digest; see
   * `LeafNotes.redirect`.
   */
  redirect: ByteString | null | undefined;

  /** Creates the decision for a dialect; without `hash` the first digest's length decides. */
  constructor(dialect: "rs" | "c", hash: HashName | undefined) {
    this.#c = dialect === "c";
    this.#hash = hash;
  }

  /**
   * Decides what one file holds.
   *
   * @throws {RegularFault} in the reference's words (spec: erofs 2.1)
   */
  content(fields: RegularFields): LeafContent {
    this.redirect = undefined;
    const { size, payload, content, digest } = fields;
    if (this.#c && content !== undefined) return this.#inline(content, size);
    if (payload !== undefined) return this.#external(payload, fields);
    if (digest !== undefined) {
      if (!this.#c) throw new RegularFault("Inline file cannot have fsverity digest");
      this.redirect = null;
      return { type: "external", digest: this.#digest(digest), size };
    }
    if (content !== undefined) return this.#inline(content, size);
    return size > 0 ? { type: "sparse", size } : EMPTY;
  }

  #inline(content: ByteString, size: number): LeafContent {
    const limit = this.#c ? INLINE_MAX.c : INLINE_MAX.rs;
    if (content.length > limit) {
      throw new RegularFault(
        this.#c
          ? `Inline content size ${content.length} exceeds maximum ${limit}`
          : `Input ${content.length} exceeded maximum length ${limit}`,
      );
    }
    if (content.length !== size) {
      throw new RegularFault(`Invalid content size ${content.length}, must match size ${size}`);
    }
    return content === "" ? EMPTY : { type: "inline", data: fromByteString(content) };
  }

  #external(payload: ByteString, fields: RegularFields): LeafContent {
    if (payload === "") throw new RegularFault("Invalid empty path");
    if (payload.includes("\0")) throw new RegularFault("Invalid embedded NUL");
    const { size } = fields;
    if (fields.digest !== undefined) {
      const digest = this.#digest(fields.digest);
      if (this.#c && !isObjectPath(payload, digest)) this.redirect = payload;
      return { type: "external", digest, size };
    }
    const digest = this.#digestOfPath(payload);
    if (this.#c && (digest === undefined || !isObjectPath(payload, digest))) {
      // On disk this is a sparse file with a redirect.
      this.redirect = payload;
      return { type: "sparse", size };
    }
    if (digest === undefined) {
      throw new RegularFault(`invalid object pathname: ${JSON.stringify(payload.slice(-140))}`);
    }
    return { type: "external-no-verity", digest, size };
  }

  #digest(text: ByteString): ObjectId {
    this.#hash ??= text.length === HEX_LENGTH.sha512 ? "sha512" : "sha256";
    if (text.length !== HEX_LENGTH[this.#hash]) throw new RegularFault("Invalid string length");
    if (isLowerHex(text)) return text as ObjectId;
    const bad = text.search(/[^0-9a-fA-F]/);
    if (bad >= 0) {
      throw new RegularFault(
        `Invalid character ${JSON.stringify(text[bad])} at position ${bad}`,
      );
    }
    return text.toLowerCase() as ObjectId;
  }

  /** The digest that the end of an object path names. */
  #digestOfPath(payload: ByteString): ObjectId | undefined {
    for (const hash of this.#hash === undefined ? ["sha512", "sha256"] as const : [this.#hash]) {
      const tail = payload.slice(-(HEX_LENGTH[hash] + 1));
      if (tail.length !== HEX_LENGTH[hash] + 1 || tail[2] !== "/") continue;
      const digest = (tail.slice(0, 2) + tail.slice(3)).toLowerCase();
      if (!isLowerHex(digest)) continue;
      this.#hash = hash;
      return digest as ObjectId;
    }
    return undefined;
  }
}

/** Whether a path is that of an object: two digits, a slash, the rest. */
function isObjectPath(path: ByteString, digest: ObjectId): boolean {
  return path.length === digest.length + 1 && path[2] === "/" &&
    path.startsWith(digest.substring(0, 2)) && path.endsWith(digest.substring(2));
}
