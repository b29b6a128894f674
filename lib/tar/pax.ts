/**
 * PAX extended headers: the records, and what they override (spec: oci 2.2).
 *
 * @module
 */
import type { ByteString } from "../base/mod.ts";
import { FormatError, fromByteString, toByteString } from "../base/mod.ts";

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const ASCII_END = 0x80;
const XATTR_PREFIX: ByteString = "SCHILY.xattr.";
/** Unsigned numbers with more digits than this cannot be u64. */
const MAX_U64 = 2n ** 64n - 1n;
const NANO_DIGITS = 9;
const NANO = 10 ** NANO_DIGITS;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What the records of one extended header say; keys that are not used are ignored. */
export interface PaxValues {
  path: ByteString | undefined;
  linkPath: ByteString | undefined;
  size: bigint | undefined;
  uid: bigint | undefined;
  gid: bigint | undefined;
  /** Whole seconds, rounded down. */
  mtimeSec: bigint | undefined;
  mtimeNsec: number;
  xattrs: Map<ByteString, ByteString> | undefined;
  sparse: boolean;
}

function malformed(): FormatError {
  return new FormatError("tar", "PAX error: malformed PAX extension record");
}

/** A value as text for people, quoted. */
function quoted(value: ByteString): string {
  try {
    return JSON.stringify(utf8.decode(fromByteString(value)));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return '"<non-UTF-8>"'; // The reference's words for bytes it cannot show.
  }
}

function invalid(key: string, value: ByteString): FormatError {
  return new FormatError("tar", `invalid PAX ${key} value: ${quoted(value)}`);
}

function unsigned(key: string, value: ByteString): bigint {
  // A u64 has at most 20 digits; zeros may stand before them.
  if (!/^\+?[0-9]+$/.test(value)) throw invalid(key, value);
  const digits = value.replace(/^\+?0*/, "");
  const number = digits.length > 20 ? MAX_U64 + 1n : BigInt(digits || 0);
  if (number > MAX_U64) throw invalid(key, value);
  return number;
}

/** Nanoseconds of a fraction: its first nine digits; 0 when it is no number. */
function nanoseconds(fraction: string): number {
  const digits = fraction.slice(0, NANO_DIGITS);
  return /^[0-9]+$/.test(digits) && (fraction.length >= NANO_DIGITS || digits === fraction)
    ? Number(digits.padEnd(NANO_DIGITS, "0"))
    : 0;
}

/** `S.frac`; negative times are accepted, and rounded down as the file system does. */
function setMtime(values: PaxValues, value: ByteString): void {
  const negative = value.startsWith("-");
  const text = negative ? value.slice(1) : value;
  const dot = text.indexOf(".");
  const whole = dot < 0 ? text : text.slice(0, dot);
  if (negative ? !/^[0-9]{1,18}$/.test(whole) : !/^\+?[0-9]+$/.test(whole)) {
    throw invalid("mtime", value);
  }
  let seconds: bigint;
  try {
    seconds = unsigned("mtime", whole);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw invalid("mtime", value); // Names the whole value.
  }
  const nsec = dot < 0 ? 0 : nanoseconds(text.slice(dot + 1));
  if (negative) {
    values.mtimeSec = nsec === 0 ? -seconds : -seconds - 1n;
    values.mtimeNsec = nsec === 0 ? 0 : NANO - nsec;
  } else {
    values.mtimeSec = BigInt.asIntN(64, seconds);
    values.mtimeNsec = nsec;
  }
}

/** State of the sparse keys while the records are read. */
interface SparseKeys {
  name: ByteString | undefined;
  major: ByteString | undefined;
  minor: ByteString | undefined;
  offset: boolean;
}

/** Handles a `GNU.sparse.` key: only whether the file is sparse matters, since that is refused. */
function sparseKey(values: PaxValues, keys: SparseKeys, key: string, value: ByteString): void {
  switch (key) {
    case "name":
      keys.name = value;
      break;
    case "major":
      keys.major ??= value;
      break;
    case "minor":
      keys.minor ??= value;
      break;
    case "offset":
      keys.offset = true;
      break;
    case "numbytes":
      if (keys.offset) values.sparse = true;
      break;
    case "map":
      values.sparse = true;
      break;
  }
}

/**
 * Reads the records of `bytes[start, end)`.
 *
 * @returns the values of the keys that are used; of a repeated key the last one
 * @throws {FormatError} at malformed records and at numbers that are none
 */
export function parsePax(bytes: Uint8Array, start: number, end: number): PaxValues {
  const values: PaxValues = {
    path: undefined,
    linkPath: undefined,
    size: undefined,
    uid: undefined,
    gid: undefined,
    mtimeSec: undefined,
    mtimeNsec: 0,
    xattrs: undefined,
    sparse: false,
  };
  const sparse: SparseKeys = { name: undefined, major: undefined, minor: undefined, offset: false };
  for (let at = start; at < end;) {
    let space = at;
    while (space < end && bytes[space] !== SPACE) space++;
    // Without a readable length the rest is taken as padding, like the reference does.
    if (space === end || space - at > 20) break;
    const digits = toByteString(bytes.subarray(at, space));
    if (!/^\+?[0-9]+$/.test(digits)) break;
    const next = at + Number(digits);
    if (next > end || next <= space + 1 || bytes[next - 1] !== NEWLINE) throw malformed();
    let equals = space + 1;
    let ascii = true;
    while (equals < next - 1 && bytes[equals] !== EQUALS) {
      if (bytes[equals]! >= ASCII_END) ascii = false;
      equals++;
    }
    if (equals === next - 1) throw malformed();
    const key = toByteString(bytes.subarray(space + 1, equals));
    if (!ascii) checkKey(key);
    const value = toByteString(bytes.subarray(equals + 1, next - 1));
    apply(values, sparse, key, value);
    at = next;
  }
  if (sparse.name !== undefined) values.path = sparse.name;
  if (sparse.major !== undefined && sparse.minor !== undefined) {
    const version = `${unsigned("GNU.sparse.major", sparse.major)}.` +
      `${unsigned("GNU.sparse.minor", sparse.minor)}`;
    if (version === "1.0") values.sparse = true;
  }
  return values;
}

function checkKey(key: ByteString): void {
  try {
    utf8.decode(fromByteString(key));
  } catch (error) {
    throw new FormatError("tar", "invalid UTF-8 in PAX key", { cause: error });
  }
}

function apply(values: PaxValues, sparse: SparseKeys, key: ByteString, value: ByteString): void {
  switch (key) {
    case "path":
      values.path = value;
      break;
    case "linkpath":
      values.linkPath = value;
      break;
    case "size":
      values.size = unsigned(key, value);
      break;
    case "uid":
      values.uid = unsigned(key, value);
      break;
    case "gid":
      values.gid = unsigned(key, value);
      break;
    case "mtime":
      setMtime(values, value);
      break;
    default:
      if (key.startsWith(XATTR_PREFIX)) {
        values.xattrs ??= new Map();
        values.xattrs.set(key.slice(XATTR_PREFIX.length), value);
      } else if (key.startsWith("GNU.sparse.")) {
        sparseKey(values, sparse, key.slice("GNU.sparse.".length), value);
      }
  }
}
