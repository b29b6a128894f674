/**
 * The escapes of dumpfile fields (spec: erofs 2).
 *
 * @module
 */
import type { ByteString } from "../base/mod.ts";

const BACKSLASH = 0x5c;
const DASH = "-";

/** A fault in an escaped field; the parser adds the line. */
export class EscapeFault extends Error {}

/** The value of a hexadecimal digit, or -1. */
function hexDigit(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  const lower = unit | 0x20;
  if (lower >= 0x61 && lower <= 0x66) return lower - 0x57;
  return -1;
}

/**
 * Undoes the escapes of one field.
 *
 * @param field the field as it stands in the line, one unit a byte
 * @returns the bytes it stands for
 * @throws {EscapeFault} for an unknown or truncated escape, in the reference's words
 */
export function unescapeField(field: ByteString): ByteString {
  let at = field.indexOf("\\");
  if (at < 0) return field;
  let out = "";
  let plain = 0;
  while (at >= 0) {
    out += field.slice(plain, at);
    const kind = field[at + 1];
    switch (kind) {
      case undefined:
        throw new EscapeFault("Unterminated escape");
      case "\\":
        out += "\\";
        break;
      case "n":
        out += "\n";
        break;
      case "r":
        out += "\r";
        break;
      case "t":
        out += "\t";
        break;
      case "x": {
        if (at + 3 >= field.length) throw new EscapeFault("Unterminated hex escape");
        const high = hexDigit(field.charCodeAt(at + 2));
        const low = hexDigit(field.charCodeAt(at + 3));
        if (high < 0 || low < 0) {
          throw new EscapeFault(`Invalid hex escape ${escapeText(field.slice(at + 2, at + 4))}`);
        }
        out += String.fromCharCode(high * 16 + low);
        at += 2;
        break;
      }
      default:
        throw new EscapeFault(`Invalid escape ${escapeText(kind)}`);
    }
    plain = at + 2;
    at = field.indexOf("\\", plain);
  }
  return out + field.slice(plain);
}

/** What each byte becomes in a field: index is the byte. */
const ESCAPED: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  switch (byte) {
    case BACKSLASH:
      return "\\\\";
    case 0x0a:
      return "\\n";
    case 0x0d:
      return "\\r";
    case 0x09:
      return "\\t";
    default:
      return byte > 0x20 && byte < 0x7f
        ? String.fromCharCode(byte)
        : "\\x" + byte.toString(16).padStart(2, "0");
  }
});

const NEEDS_ESCAPE = /[^\x21-\x5b\x5d-\x7e]/;
const NEEDS_XATTR_ESCAPE = /[^\x21-\x3c\x3e-\x5b\x5d-\x7e]/;

function escapeAll(bytes: ByteString): string {
  let out = "";
  for (let i = 0; i < bytes.length; i++) out += ESCAPED[bytes.charCodeAt(i)];
  return out;
}

/** Escapes bytes that are only a part of a field, such as one name of a path. */
export function escapeText(bytes: ByteString): string {
  return NEEDS_ESCAPE.test(bytes) ? escapeAll(bytes) : bytes;
}

/**
 * Escapes a path, payload or content field; empty becomes `-`, a lone dash `\x2d`.
 *
 * @returns ASCII without spaces
 */
export function escapeField(bytes: ByteString): string {
  if (bytes === "") return DASH;
  if (bytes === DASH) return "\\x2d";
  return escapeText(bytes);
}

/**
 * Escapes the name or the value of an extended attribute: `=` is escaped; empty and a lone dash
 * stay as they are.
 *
 * @returns ASCII without spaces
 */
export function escapeXattr(bytes: ByteString): string {
  return NEEDS_XATTR_ESCAPE.test(bytes) ? escapeAll(bytes).replaceAll("=", "\\x3d") : bytes;
}

/** Escapes inline content; empty becomes `-`, a lone dash `\x2d`. */
export function escapeContent(data: Uint8Array): string {
  if (data.length === 0) return DASH;
  if (data.length === 1 && data[0] === 0x2d) return "\\x2d";
  let out = "";
  for (let i = 0; i < data.length; i++) out += ESCAPED[data[i]!];
  return out;
}
