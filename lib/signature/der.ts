/** Reading DER (X.690), as certificates are written. */
import { FormatError, toByteString } from "../base/mod.ts";

/** Tags of the values that certificates are made of. */
export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  utcTime: 0x17,
  generalizedTime: 0x18,
  context0: 0xa0,
  context1: 0xa1,
  context2: 0xa2,
  context3: 0xa3,
} as const;

/** Bit of a tag that stands for tags of several bytes, which certificates do not have. */
const LONG_TAG = 0x1f;

/** One value. */
export interface DerValue {
  /** Its tag. */
  readonly tag: number;
  /** Its content. */
  readonly content: Uint8Array;
  /** All of it, with tag and length. */
  readonly whole: Uint8Array;
}

/** Values one after the other; each read checks what remains. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  /** Starts at the first of the values in `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether all is read. */
  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The tag of the next value; `undefined` at the end. */
  get next(): number | undefined {
    return this.#bytes[this.#at];
  }

  /**
   * Reads a value.
   *
   * @param tag the only tag it may have
   * @throws {FormatError} when there is none, or it has another tag or no DER length
   */
  read(tag?: number): DerValue {
    const bytes = this.#bytes;
    const start = this.#at;
    const found = bytes[start];
    const first = bytes[start + 1];
    if (found === undefined || first === undefined) throw fault("is cut off");
    if ((found & LONG_TAG) === LONG_TAG) throw fault("has a long tag");
    if (tag !== undefined && found !== tag) {
      throw fault(`has tag ${found} where ${tag} was expected`);
    }
    let at = start + 2;
    let length = first;
    if (first >= 0x80) {
      const count = first - 0x80;
      if (count === 0 || count > 3 || at + count > bytes.length) throw fault("has a bad length");
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + bytes[at++]!;
      if (length < 0x80 || (count > 1 && length < 256 ** (count - 1))) {
        throw fault("has a length that is not the shortest");
      }
    }
    if (length > bytes.length - at) throw fault("is cut off");
    this.#at = at + length;
    return {
      tag: found,
      content: bytes.subarray(at, this.#at),
      whole: bytes.subarray(start, this.#at),
    };
  }

  /** Reads a value if it has this tag. */
  optional(tag: number): DerValue | undefined {
    return this.next === tag ? this.read(tag) : undefined;
  }

  /** Reads a value and enters it. */
  enter(tag: number): DerReader {
    return new DerReader(this.read(tag).content);
  }

  /**
   * Makes sure that all is read.
   *
   * @throws {FormatError} when it is not
   */
  end(): void {
    if (!this.done) throw fault("has data after its end");
  }
}

/** Object identifiers as people write them, with dots. */
export function formatOid(content: Uint8Array): string {
  const parts: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (value > Number.MAX_SAFE_INTEGER) throw fault("has a huge object identifier");
    if (byte < 0x80) {
      parts.push(value);
      value = 0;
    }
  }
  const [first = 0, ...rest] = parts;
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - 40 * top, ...rest].join(".");
}

/**
 * A time.
 *
 * @throws {FormatError} when it is none as certificates have them
 */
export function parseDerTime(value: DerValue): Date {
  const text = toByteString(value.content);
  const utc = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const long = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const match = value.tag === DER.utcTime ? utc : value.tag === DER.generalizedTime ? long : null;
  if (match === null) throw fault("has a time that is none");
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const full = value.tag === DER.utcTime ? year + (year < 50 ? 2000 : 1900) : year;
  const time = new Date(Date.UTC(full, month - 1, day, hour, minute, second));
  if (time.getUTCMonth() !== month - 1 || time.getUTCDate() !== day || hour > 23) {
    throw fault("has a time that is none");
  }
  return time;
}

function fault(what: string): FormatError {
  return new FormatError("DER", `DER value ${what}`);
}
