/**
 * The two extended attributes that name the object of an external file (spec: erofs 4.3, 5.3).
 *
 * @module
 */
import { ALGORITHMS, FormatError, HASH_SIZE, type HashName } from "../base/mod.ts";
import { METACOPY, METACOPY_SIZE } from "./layout.ts";

const SLASH = 0x2f;
const VERSION = 0;
const FLAGS = 0;

/** The hash function whose metacopy values are `length` bytes long (spec: erofs 8.4). */
export function hashOfMetacopy(length: number): HashName | undefined {
  for (const hash of ["sha256", "sha512"] as const) {
    if (length === METACOPY_SIZE + HASH_SIZE[hash]) return hash;
  }
  return undefined;
}

/**
 * Why a value of `trusted.overlay.metacopy` is not right for this hash function.
 *
 * @returns the fault, or undefined when the digest after the first four bytes may be used
 */
export function metacopyFault(value: Uint8Array, hash: HashName): string | undefined {
  const size = METACOPY_SIZE + HASH_SIZE[hash];
  if (value.length !== size) {
    return `malformed trusted.overlay.metacopy xattr: expected ${size} bytes, got ${value.length}`;
  }
  const version = value[METACOPY.version[0]]!;
  const length = value[METACOPY.length[0]]!;
  const flags = value[METACOPY.flags[0]]!;
  const algorithm = value[METACOPY.algorithm[0]]!;
  const expected = ALGORITHMS[hash].kernelId;
  if (version === VERSION && length === size && flags === FLAGS && algorithm === expected) {
    return undefined;
  }
  return `invalid trusted.overlay.metacopy: version=${version}, len=${length}, flags=${flags}, ` +
    `digest_algo=${algorithm} ` +
    `(expected version=${VERSION}, len=${size}, flags=${FLAGS}, digest_algo=${expected})`;
}

/**
 * Checks a value of `trusted.overlay.metacopy`.
 *
 * @returns the digest as a view of `value`
 * @throws {FormatError} with the message of {@linkcode metacopyFault}
 */
export function metacopyDigest(value: Uint8Array, hash: HashName): Uint8Array {
  const fault = metacopyFault(value, hash);
  if (fault !== undefined) throw new FormatError("erofs", fault);
  return value.subarray(METACOPY_SIZE);
}

/** The value of each hexadecimal digit, -1 for every other byte. */
const NIBBLES = Int8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
});
/** The lower-case digit of each value of four bits. */
const DIGITS = new TextEncoder().encode("0123456789abcdef");

/** Whether a redirect is exactly `/hh/rest` in lower case for this digest. */
export function isPathOf(redirect: Uint8Array, digest: Uint8Array): boolean {
  const size = digest.length;
  if (redirect.length !== 2 * size + 2 || redirect[0] !== SLASH || redirect[3] !== SLASH) {
    return false;
  }
  for (let i = 0, at = 1; i < size; i++) {
    const byte = digest[i]!;
    if (redirect[at] !== DIGITS[byte >>> 4] || redirect[at + 1] !== DIGITS[byte & 15]) return false;
    at += i === 0 ? 3 : 2;
  }
  return true;
}

/**
 * Reads the digest from the end of an object path `…/hh/rest`, as the value of
 * `trusted.overlay.redirect` or a payload has it. What comes before is not looked at.
 *
 * @param out receives the digest at `outOffset`
 * @returns false when this is not an object path of the hash function; `out` may have been changed
 */
export function readObjectPath(
  path: Uint8Array,
  hash: HashName,
  out: { readonly bytes: Uint8Array; readonly offset: number },
): boolean {
  const size = HASH_SIZE[hash];
  let at = path.length - (2 * size + 1);
  if (at < 0 || path[at + 2] !== SLASH) return false;
  for (let i = 0; i < size; i++) {
    const high = NIBBLES[path[at]!]!;
    const low = NIBBLES[path[at + 1]!]!;
    if (high < 0 || low < 0) return false;
    out.bytes[out.offset + i] = high * 16 + low;
    at += i === 0 ? 3 : 2;
  }
  return true;
}
