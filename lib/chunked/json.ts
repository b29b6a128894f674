import { FormatError } from "../base/mod.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/** The bytes that open and close objects and arrays. */
export const BRACKET = { object: 0x7b, objectEnd: 0x7d, array: 0x5b, arrayEnd: 0x5d } as const;

/** Values inside of values beyond this depth are refused. */
const MAX_DEPTH = 64;
/**
 * Keys that are remembered at a time to find those that occur twice: no file has more extended
 * attributes, and a table made of nothing else would take many times its size.
 */
const MAX_KEYS = 65_536;

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** A place in the bytes: what a string has between its quotes. */
export interface JsonString {
  /** First byte behind the opening quote. */
  start: number;
  /** The closing quote. */
  end: number;
  /** Whether there is a backslash in it. */
  escaped: boolean;
}

/**
 * Reads JSON where it lies, value by value, so that a table of millions of entries is never a tree
 * of objects. Strict: anything that is not JSON is refused, and so are keys that occur twice, which
 * two readers could take differently.
 */
export class JsonCursor {
  /** The text. */
  readonly bytes: Uint8Array;
  /** Where the last string or key was. */
  readonly string: JsonString = { start: 0, end: 0, escaped: false };
  readonly #format: string;
  readonly #end: number;
  #at: number;

  /** Reads `bytes[start, end)`; `format` is named in errors. */
  constructor(bytes: Uint8Array, format: string, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.#format = format;
    this.#at = start;
    this.#end = end;
  }

  /** An error at the current place. */
  fault(message: string): FormatError {
    return new FormatError(this.#format, message, { offset: this.#at });
  }

  /** The first byte of the next token; -1 at the end. */
  peek(): number {
    const { bytes } = this;
    const end = this.#end;
    let at = this.#at;
    for (; at < end; at++) {
      const byte = bytes[at]!;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    }
    this.#at = at;
    return at < end ? bytes[at]! : -1;
  }

  /** Takes the opening bracket; false when the closing one follows, which is taken too. */
  enter(open: number): boolean {
    if (this.peek() !== open) throw this.fault("Not the expected kind of JSON value");
    this.#at++;
    if (this.peek() !== open + 2) return true;
    this.#at++;
    return false;
  }

  /** Takes what follows a value: a comma (true) or the closing bracket (false). */
  next(open: number): boolean {
    const byte = this.peek();
    if (byte !== COMMA && byte !== open + 2) throw this.fault("JSON is malformed");
    this.#at++;
    return byte === COMMA;
  }

  /** Takes a key and its colon; its text is at {@linkcode JsonCursor.string}. */
  key(): void {
    this.text();
    if (this.peek() !== COLON) throw this.fault("JSON is malformed");
    this.#at++;
  }

  /** Takes a string; its text is at {@linkcode JsonCursor.string}. */
  text(): void {
    if (this.peek() !== QUOTE) throw this.fault("Expected a JSON string");
    const { bytes, string } = this;
    const end = this.#end;
    let at = this.#at + 1;
    string.start = at;
    string.escaped = false;
    for (; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        string.escaped = true;
        at++;
      } else if (byte < 0x20) throw this.fault("Control character in a JSON string");
    }
    if (at >= end) throw this.fault("JSON string does not end");
    string.end = at;
    this.#at = at + 1;
  }

  /** The last string with its escapes resolved. */
  decoded(): string {
    return decodeJsonString(this.bytes, this.string, this.#format);
  }

  /** Takes an integer from 0 to 2^53 - 1. */
  integer(): number {
    this.peek();
    const { bytes } = this;
    const end = this.#end;
    const start = this.#at;
    let at = start;
    let value = 0;
    for (; at < end; at++) {
      const byte = bytes[at]!;
      if (byte < ZERO || byte > NINE) break;
      value = value * 10 + byte - ZERO;
    }
    const next = at < end ? bytes[at]! : COMMA;
    const fraction = next === 0x2e || next === 0x65 || next === 0x45;
    const leadingZero = bytes[start] === ZERO && at - start > 1;
    if (at === start || at - start > 16 || leadingZero || fraction) {
      throw this.fault("Expected a JSON integer that is not negative");
    }
    if (value > Number.MAX_SAFE_INTEGER) throw this.fault("JSON integer is out of range");
    this.#at = at;
    return value;
  }

  /** Takes `null` when it is what follows. */
  null(): boolean {
    if (this.peek() !== 0x6e) return false;
    this.#literal("null");
    return true;
  }

  #literal(word: string): void {
    for (let i = 0; i < word.length; i++) {
      if (this.#at + i >= this.#end || this.bytes[this.#at + i] !== word.charCodeAt(i)) {
        throw this.fault("JSON is malformed");
      }
    }
    this.#at += word.length;
  }

  #number(): void {
    const { bytes } = this;
    let end = this.#at;
    while (end < this.#end && /[-+.eE0-9]/.test(String.fromCharCode(bytes[end]!))) end++;
    const text = String.fromCharCode(...bytes.subarray(this.#at, Math.min(end, this.#at + 1000)));
    if (!/^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$/.test(text)) {
      throw this.fault("JSON is malformed");
    }
    this.#at = end;
  }

  #scalar(first: number): void {
    if (first === QUOTE) {
      this.text();
      if (this.string.escaped) this.decoded(); // only to check the escapes
    } else if (first === MINUS || (first >= ZERO && first <= NINE)) this.#number();
    else if (first === 0x74) this.#literal("true");
    else if (first === 0x66) this.#literal("false");
    else if (first === 0x6e) this.#literal("null");
    else throw this.fault("JSON is malformed");
  }

  /** Takes a value of any kind. */
  skip(): void {
    /** The keys so far of each object that is open; undefined for an array. */
    const open: (Set<string> | undefined)[] = [];
    this.#skippedKeys = 0;
    do {
      const first = this.peek();
      const nested = first === BRACKET.object || first === BRACKET.array;
      if (nested && open.length >= MAX_DEPTH) throw this.fault("JSON is nested too deeply");
      if (nested && this.enter(first)) {
        open.push(first === BRACKET.object ? new Set() : undefined);
        this.#member(open);
        continue;
      }
      if (!nested) this.#scalar(first);
      while (open.length > 0) {
        const kind = open[open.length - 1] === undefined ? BRACKET.array : BRACKET.object;
        if (this.next(kind)) {
          this.#member(open);
          break;
        }
        open.pop();
      }
    } while (open.length > 0);
  }

  /** Keys of the value that is skipped, in all objects in it. */
  #skippedKeys = 0;

  #member(open: (Set<string> | undefined)[]): void {
    const keys = open[open.length - 1];
    if (keys === undefined) return;
    this.key();
    const key = this.decoded();
    if (keys.has(key)) throw this.fault(`JSON key "${key.slice(0, 100)}" occurs twice`);
    if (++this.#skippedKeys > MAX_KEYS) throw this.fault("JSON has too many keys");
    keys.add(key);
  }

  /** Checks that only white space is left. */
  finish(): void {
    if (this.peek() !== -1) throw this.fault("Data after the JSON value");
  }
}

/**
 * The text of a string.
 *
 * @throws {FormatError} for an escape that JSON does not have
 */
export function decodeJsonString(bytes: Uint8Array, at: JsonString, format: string): string {
  const raw = utf8.decode(bytes.subarray(at.start, at.end));
  if (!at.escaped) return raw;
  try {
    return JSON.parse(`"${raw}"`);
  } catch (cause) {
    throw new FormatError(format, "Invalid escape in a JSON string", { cause, offset: at.start });
  }
}

/** Finds a key among the known ones without making a string of it. */
export class KeyTable {
  readonly #names: readonly string[];

  /** Knows these keys, plain ASCII, at most 31 of them. */
  constructor(names: readonly string[]) {
    this.#names = names;
  }

  /** Place of the cursor's last string among the known keys; -1 when it is none of them. */
  find(cursor: JsonCursor): number {
    const { bytes, string: { start, end, escaped } } = cursor;
    if (escaped) return this.#names.indexOf(cursor.decoded());
    const names = this.#names;
    search: for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      if (name.length !== end - start) continue;
      for (let j = 0; j < name.length; j++) {
        if (name.charCodeAt(j) !== bytes[start + j]) continue search;
      }
      return i;
    }
    return -1;
  }
}

/** The keys that an object has had, so that none occurs twice. */
export class SeenKeys {
  #known = 0;
  #others: Set<string> | undefined;

  /** Starts with the next object. */
  reset(): void {
    this.#known = 0;
    this.#others = undefined;
  }

  /**
   * Adds the cursor's last key.
   *
   * @param known its place in a {@linkcode KeyTable}, or -1
   * @throws {FormatError} when it was there already
   */
  add(cursor: JsonCursor, known: number): void {
    let again: boolean;
    if (known >= 0) {
      again = (this.#known & (1 << known)) !== 0;
      this.#known |= 1 << known;
    } else {
      const key = cursor.decoded();
      const others = this.#others ??= new Set();
      again = others.has(key);
      others.add(key);
      if (others.size > MAX_KEYS) throw cursor.fault("JSON object has too many keys");
    }
    if (again) throw cursor.fault(`JSON key "${cursor.decoded().slice(0, 100)}" occurs twice`);
  }
}
