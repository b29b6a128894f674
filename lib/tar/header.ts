/**
 * Reading one header block in place: checksum, numbers, magic, names (spec: oci 2.2).
 *
 * @module
 */
import type { ByteString } from "../base/mod.ts";
import { FormatError, toByteString } from "../base/mod.ts";
import { BLOCK, GNU_MAGIC, HEADER, USTAR_MAGIC } from "./layout.ts";

/** A field of {@linkcode HEADER}: offset in the header and length, in bytes. */
export type Field = readonly [offset: number, length: number];

const SPACE = 0x20;
const PLUS = 0x2b;
const ZERO = 0x30;
const SEVEN = 0x37;
const TAB = 0x09;
const CARRIAGE_RETURN = 0x0d;
const BASE_256 = 0x80;

/** Whether the block at `at` holds only zero bytes. */
export function isZeroBlock(bytes: Uint8Array, at: number): boolean {
  for (let i = at, end = at + BLOCK; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** The sum of the header's bytes with the checksum field taken as spaces. */
export function computeChecksum(bytes: Uint8Array, at: number): number {
  const [offset, length] = HEADER.checksum;
  let sum = SPACE * length;
  for (let i = at, end = at + BLOCK; i < end; i += 8) {
    sum += bytes[i]! + bytes[i + 1]! + bytes[i + 2]! + bytes[i + 3]! +
      bytes[i + 4]! + bytes[i + 5]! + bytes[i + 6]! + bytes[i + 7]!;
  }
  for (let i = at + offset, end = i + length; i < end; i++) sum -= bytes[i]!;
  return sum;
}

/** Whether the block at `at` is a header with the right checksum. */
export function isHeader(bytes: Uint8Array, at: number): boolean {
  return octalOrInvalid(bytes, at, HEADER.checksum) === computeChecksum(bytes, at);
}

/**
 * Checks the checksum of the header at `at`.
 *
 * @throws {FormatError} `header error: checksum mismatch: expected N, computed M`
 */
export function checkChecksum(bytes: Uint8Array, at: number): void {
  const expected = octal(bytes, at, HEADER.checksum);
  const computed = computeChecksum(bytes, at);
  if (expected !== computed) {
    throw new FormatError(
      "tar",
      `header error: checksum mismatch: expected ${expected}, computed ${computed}`,
    );
  }
}

function isBlank(unit: number): boolean {
  return unit === SPACE || (unit >= TAB && unit <= CARRIAGE_RETURN);
}

/** The octal number of a field; -1 when it is none. An empty field is 0. */
function octalOrInvalid(bytes: Uint8Array, at: number, field: Field): number {
  let i = at + field[0];
  const end = i + field[1];
  while (i < end && isBlank(bytes[i]!)) i++;
  if (i === end || bytes[i] === 0) return 0;
  if (bytes[i] === PLUS) i++;
  const digits = i;
  let value = 0;
  while (i < end && bytes[i]! >= ZERO && bytes[i]! <= SEVEN) value = value * 8 + bytes[i++]! - ZERO;
  if (i === digits) return -1;
  while (i < end && bytes[i] !== 0) if (!isBlank(bytes[i++]!)) return -1;
  return value;
}

/**
 * The octal number of a field.
 *
 * @throws {FormatError} `header error: invalid octal field: [...]`
 */
export function octal(bytes: Uint8Array, at: number, field: Field): number {
  const value = octalOrInvalid(bytes, at, field);
  if (value < 0) {
    const shown = bytes.subarray(at + field[0], at + field[0] + field[1]).join(", ");
    throw new FormatError("tar", `header error: invalid octal field: [${shown}]`);
  }
  return value;
}

/** Whether a field holds a binary number instead of octal digits. */
export function isBase256(bytes: Uint8Array, at: number, field: Field): boolean {
  return (bytes[at + field[0]]! & BASE_256) !== 0;
}

/** The binary number of a field: its low 64 bits without the marker bit. */
export function base256(bytes: Uint8Array, at: number, field: Field): bigint {
  const start = at + field[0];
  let value = BigInt(bytes[start]! & ~BASE_256);
  for (let i = 1; i < field[1]; i++) value = value * 256n + BigInt(bytes[start + i]!);
  return BigInt.asUintN(64, value);
}

/** A field up to its first NUL. */
export function name(bytes: Uint8Array, at: number, field: Field): ByteString {
  const start = at + field[0];
  const end = start + field[1];
  let i = start;
  while (i < end && bytes[i] !== 0) i++;
  return i === start ? "" : toByteString(bytes.subarray(start, i));
}

function matches(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Whether the header at `at` is a POSIX one. */
export function isUstar(bytes: Uint8Array, at: number): boolean {
  return matches(bytes, at + HEADER.magic[0], USTAR_MAGIC);
}

/** Whether the header at `at` is a GNU one. */
export function isGnu(bytes: Uint8Array, at: number): boolean {
  return matches(bytes, at + HEADER.magic[0], GNU_MAGIC);
}
