/** Extended attributes as OSTree objects hold them, `a(ayay)` (spec: ostree 2.3, 4.3, 6.1). */
import { type ByteString, FormatError, fromByteString, toByteString } from "../base/mod.ts";
import { NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import type { VariantValue } from "./variant.ts";

/** How objects are checked. */
export interface CheckOptions {
  /**
   * Accept names of extended attributes without their NUL, as older releases of the reference
   * wrote them. @default false
   */
  bareXattrNames?: boolean;
}

/**
 * Checks a list of attributes and turns it into the tree's form: names without their NUL.
 *
 * @throws {FormatError} when names are empty, unsorted, twice there, or without NUL
 */
export function xattrsFromVariant(
  value: VariantValue,
  options: CheckOptions & { format: string },
): Xattrs {
  const list = value as readonly (readonly [Uint8Array, Uint8Array])[];
  if (list.length === 0) return NO_XATTRS;
  const out = new Map<ByteString, ByteString>();
  let previous = "";
  for (const [rawName, rawValue] of list) {
    let name = toByteString(rawName);
    if (name.endsWith("\0")) name = name.slice(0, -1);
    else if (options.bareXattrNames !== true) {
      throw new FormatError(options.format, "Invalid xattr name: missing NUL terminator");
    }
    if (name === "") throw new FormatError(options.format, "Invalid xattr name: empty");
    if (name.includes("\0")) throw new FormatError(options.format, "Invalid xattr name: inner NUL");
    if (name.length > 255) {
      throw new FormatError(options.format, `Invalid xattr name: ${name.length} bytes`);
    }
    if (name <= previous) {
      const what = name === previous ? "duplicate name" : "not sorted by name";
      throw new FormatError(options.format, `Invalid xattrs: ${what}`);
    }
    out.set(name, toByteString(rawValue));
    previous = name;
  }
  return out;
}

/** The list of attributes as objects hold it: sorted, names with their NUL. */
export function xattrsToVariant(xattrs: Xattrs): VariantValue {
  if (xattrs.size === 0) return [];
  return [...xattrs.keys()].sort().map((
    name,
  ) => [fromByteString(name + "\0"), fromByteString(xattrs.get(name)!)]);
}
