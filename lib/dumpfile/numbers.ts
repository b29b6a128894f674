/**
 * Numbers in dumpfile fields, read from bytes. They accept what Rust's `from_str` accepts (a plus
 * sign, leading zeros) and fail in its words.
 *
 * @module
 */

/** A fault in a number; the parser adds the line. */
export class NumberFault extends Error {}

const ZERO = 0x30;
const PLUS = 0x2b;
const MINUS = 0x2d;
const U64_LIMIT = 2n ** 64n;
const I64_LIMIT = 2n ** 63n;
/** Decimal numbers of up to this many digits are exact as `number`. */
const SAFE_DIGITS = 15;

function noDigits(): never {
  throw new NumberFault("cannot parse integer from empty string");
}

function badDigit(): never {
  throw new NumberFault("invalid digit found in string");
}

function tooLarge(): never {
  throw new NumberFault("number too large to fit in target type");
}

/** The start of the digits of `bytes[start, end)`, past a plus sign. */
function digitsStart(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end) noDigits();
  if (bytes[start] !== PLUS) return start;
  if (start + 1 === end) badDigit();
  return start + 1;
}

/**
 * Reads `bytes[start, end)` as an unsigned decimal number of at most `limit`.
 *
 * @param limit greatest allowed value; at most 2^53
 * @throws {NumberFault} when it is none or above the limit
 */
export function parseDecimal(
  bytes: Uint8Array,
  start: number,
  end: number,
  limit: number,
): number {
  if (end - start === 1) {
    const only = bytes[start]! - ZERO;
    if (only >= 0 && only <= 9) return only;
  }
  const first = digitsStart(bytes, start, end);
  let value = 0;
  for (let i = first; i < end; i++) {
    const digit = bytes[i]! - ZERO;
    if (digit < 0 || digit > 9) badDigit();
    value = value * 10 + digit;
  }
  if (end - first <= SAFE_DIGITS) {
    if (value > limit) tooLarge();
    return value;
  }
  // Above 2^53 doubles round: decide the limit exactly.
  if (value > 2 ** 64 || parseBig(bytes, first, end) > BigInt(limit)) tooLarge();
  return value;
}

/** The digits of `bytes[start, end)`, all known to be decimal, as a bigint below about 2^64. */
function parseBig(bytes: Uint8Array, start: number, end: number): bigint {
  let first = start;
  // Any number of zeros may come first, and each digit costs a bigint.
  while (first < end && bytes[first] === ZERO) first++;
  let value = 0n;
  for (let i = first; i < end; i++) value = value * 10n + BigInt(bytes[i]! - ZERO);
  return value;
}

/**
 * Reads `bytes[start, end)` as an octal number of 32 bits.
 *
 * @throws {NumberFault} when it is none or above 2^32 - 1
 */
export function parseOctal(bytes: Uint8Array, start: number, end: number): number {
  const first = digitsStart(bytes, start, end);
  let value = 0;
  for (let i = first; i < end; i++) {
    const digit = bytes[i]! - ZERO;
    if (digit < 0 || digit > 7) badDigit();
    value = value * 8 + digit;
  }
  if (value > 0xffffffff) tooLarge();
  return value;
}

/**
 * Reads `bytes[start, end)` as signed seconds; values from 2^63 to 2^64 - 1 are taken as wrapped
 * negative ones (spec: erofs 6, row 6).
 *
 * @throws {NumberFault} when it is no number of 64 bits
 */
export function parseSeconds(bytes: Uint8Array, start: number, end: number): bigint {
  const negative = bytes[start] === MINUS && start < end;
  if (negative && start + 1 === end) badDigit();
  const first = negative ? start + 1 : digitsStart(bytes, start, end);
  let value = 0;
  for (let i = first; i < end; i++) {
    const digit = bytes[i]! - ZERO;
    if (digit < 0 || digit > 9) badDigit();
    value = value * 10 + digit;
  }
  if (end - first <= SAFE_DIGITS) return BigInt(negative ? -value : value);
  if (value > 2 ** 64) tooLarge();
  const big = parseBig(bytes, first, end);
  if (negative) {
    if (big > I64_LIMIT) throw new NumberFault("number too small to fit in target type");
    return -big;
  }
  if (big >= U64_LIMIT) tooLarge();
  return BigInt.asIntN(64, big);
}
