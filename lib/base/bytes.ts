/**
 * Byte strings and hex. Linux names are bytes, not text: a {@linkcode ByteString} is a JavaScript
 * string in which every UTF-16 unit is one byte (0..255). It compares with `<` in byte order, works
 * as a `Map` key, and costs one byte a character in V8.
 *
 * @module
 */

/** A string whose every UTF-16 unit is one byte (0..255); never text for people. */
export type ByteString = string;

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Turns bytes into a {@linkcode ByteString}. */
export function toByteString(bytes: Uint8Array): ByteString {
  const length = bytes.length;
  if (length <= 4096) return String.fromCharCode.apply(null, bytes as unknown as number[]);
  let out = "";
  for (let i = 0; i < length; i += 4096) {
    out += String.fromCharCode.apply(null, bytes.subarray(i, i + 4096) as unknown as number[]);
  }
  return out;
}

/**
 * Turns a {@linkcode ByteString} into bytes.
 *
 * @throws {RangeError} when a unit is above 255, that is when text was passed
 */
export function fromByteString(text: ByteString): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(text.length);
  writeByteString(text, out, 0);
  return out;
}

/** Writes a {@linkcode ByteString} into `out` at `offset`; returns the offset after it. */
export function writeByteString(text: ByteString, out: Uint8Array, offset: number): number {
  const length = text.length;
  if (offset + length > out.length) throw new RangeError("Byte string does not fit");
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 255) throw new RangeError("Not a byte string: a unit is above 255");
    out[offset + i] = unit;
  }
  return offset + length;
}

/** The UTF-8 bytes of `text` as a {@linkcode ByteString}. */
export function utf8ByteString(text: string): ByteString {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 127) return toByteString(encoder.encode(text));
  }
  return text;
}

/** A {@linkcode ByteString} as text for people; bytes that are not UTF-8 show as `\xHH`. */
export function displayByteString(bytes: ByteString): string {
  try {
    return strictDecoder.decode(fromByteString(bytes));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // Not UTF-8: fall back to an unambiguous escape, since the result is only shown.
    return bytes.replace(
      /[^\x20-\x7e]/g,
      (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
    );
  }
}

/** Lower-case hex of `bytes[start, end)`. */
export function toHex(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  return bytes.subarray(start, end).toHex();
}

/**
 * Writes the bytes of a hex string (either case) into `out` at `offset`.
 *
 * @throws {RangeError} when it does not fit or is not hex
 */
export function writeHex(hex: string, out: Uint8Array, offset: number): void {
  const count = hex.length / 2;
  if (!Number.isInteger(count) || offset + count > out.length) {
    throw new RangeError(`Hex string of ${hex.length} digits does not fit`);
  }
  try {
    out.subarray(offset, offset + count).setFromHex(hex);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const bad = hex.search(/[^0-9a-fA-F]/);
    throw new RangeError(`Invalid hex digit at position ${bad - bad % 2}`);
  }
}

/** The bytes of a hex string (either case). */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil(hex.length / 2));
  writeHex(hex, out, 0);
  return out;
}
