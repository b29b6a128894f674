import type { ByteString } from "../base/mod.ts";
import { NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import { unescapeField } from "./escape.ts";

/** A fault in the extended attributes of a line; the parser adds the line. */
export class XattrFault extends Error {}

const NAME_MAX = 255;
const VALUE_MAX = 65535;
/** Sum of the name lengths of one entry (XATTR_LIST_MAX in linux/limits.h). */
const LIST_MAX = 65535;
/** What the C tools count: once, for each attribute, and at most in all. */
const C_BASE = 12;
const C_PER_XATTR = 7;
const C_MAX = 32767;
/** Lists longer than this are rarely repeated: not worth remembering. */
const REMEMBERED_LENGTH = 4096;
/** Bounds the memory of what is remembered. */
const REMEMBERED_COUNT = 16384;

/**
 * Parses the `KEY=VALUE` fields. Lines that repeat the same text get the same map, so that writers
 * can work on sets instead of single attributes.
 */
export class XattrParser {
  readonly #known: Map<string, Xattrs> = new Map();
  readonly #dialect: "rs" | "c";
  readonly #onDuplicate: (name: ByteString) => void;

  /** Creates a parser; `onDuplicate` is told names that occur twice in one entry. */
  constructor(dialect: "rs" | "c", onDuplicate: (name: ByteString) => void) {
    this.#dialect = dialect;
    this.#onDuplicate = onDuplicate;
  }

  /**
   * Parses the rest of a line after the eleventh field and its space.
   *
   * @returns the attributes, in byte order of their names
   * @throws {XattrFault | EscapeFault} in the reference's words (spec: erofs 2.1)
   */
  parse(text: string): Xattrs {
    if (text.length > REMEMBERED_LENGTH) return this.#parse(text);
    let xattrs = this.#known.get(text);
    if (xattrs === undefined) {
      xattrs = this.#parse(text);
      if (this.#known.size < REMEMBERED_COUNT) this.#known.set(text, xattrs);
    }
    return xattrs;
  }

  #parse(text: string): Xattrs {
    const c = this.#dialect === "c";
    const fields = text.split(" ");
    if (c && fields[fields.length - 1] === "") fields.pop();
    if (fields.length === 0) return NO_XATTRS;
    const found = new Map<ByteString, ByteString>();
    let names = 0;
    let total = C_BASE;
    for (const field of fields) {
      const equals = field.indexOf("=");
      if (equals < 0) throw new XattrFault("Missing = in xattrs");
      const name = unescapeField(field.slice(0, equals));
      const value = unescapeField(field.slice(equals + 1));
      if (name === "") throw new XattrFault("Invalid empty xattr name");
      if (name.includes("\0")) throw new XattrFault("Invalid embedded NUL");
      if (name.length > NAME_MAX) {
        throw new XattrFault(`xattr name too long; max=${NAME_MAX} found=${name.length}`);
      }
      if (value.length > VALUE_MAX) {
        throw new XattrFault(`xattr value too long; max=${VALUE_MAX} found=${value.length}`);
      }
      names += name.length;
      total += C_PER_XATTR + name.length + value.length;
      if (names > LIST_MAX || (c && total > C_MAX)) throw new XattrFault("Too many xattrs");
      const old = found.get(name);
      if (old !== undefined) this.#onDuplicate(name);
      // One rule for each peer: the greatest value counts, or the last one.
      if (old === undefined || c || value > old) found.set(name, value);
    }
    return sorted(found);
  }
}

function sorted(xattrs: Map<ByteString, ByteString>): Xattrs {
  let previous = "";
  for (const name of xattrs.keys()) {
    if (name < previous) return new Map([...xattrs].sort((a, b) => a[0] < b[0] ? -1 : 1));
    previous = name;
  }
  return xattrs;
}
