/**
 * JSON read so strictly that two readers cannot disagree on what a document says: no key twice, no
 * data after the end, no comments, a bound on depth and size (spec: trust 2). `JSON.parse` sees
 * nothing of the first, and tells no places.
 *
 * @module
 */
import { FormatError } from "../base/mod.ts";

/** A value with its place. */
export type JsonNode = JsonObject | JsonArray | JsonString | JsonNumber | JsonWord;

/** What every value has. */
export interface JsonPlace {
  /** Where it begins, in UTF-16 units from the start of the text. */
  readonly at: number;
}

/** An object. */
export interface JsonObject extends JsonPlace {
  /** What it is. */
  readonly kind: "object";
  /** Its members in the order of the text; `keyAt` is where the key begins. */
  readonly members: ReadonlyMap<string, { readonly keyAt: number; readonly value: JsonNode }>;
}

/** An array. */
export interface JsonArray extends JsonPlace {
  /** What it is. */
  readonly kind: "array";
  /** Its elements. */
  readonly elements: readonly JsonNode[];
}

/** A string. */
export interface JsonString extends JsonPlace {
  /** What it is. */
  readonly kind: "string";
  /** Its value. */
  readonly value: string;
}

/** A number. */
export interface JsonNumber extends JsonPlace {
  /** What it is. */
  readonly kind: "number";
  /** As it is written. */
  readonly text: string;
}

/** `true`, `false` or `null`. */
export interface JsonWord extends JsonPlace {
  /** What it is. */
  readonly kind: "boolean" | "null";
  /** Its value. */
  readonly value: boolean | null;
}

/** A place as people count: both from 1. */
export interface TextPosition {
  /** Line. */
  readonly line: number;
  /** Column, in UTF-16 units. */
  readonly column: number;
}

/** A fault in a JSON text; its message does not tell the place. */
export class JsonError extends FormatError {
  /** Creates an error; `at` is in UTF-16 units from the start of the text. */
  constructor(what: string, reason: string, options: ErrorOptions & { at?: number } = {}) {
    const { at, ...rest } = options;
    super(what, reason, { ...rest, ...(at === undefined ? {} : { offset: at }) });
  }
}

/** Limits of a document. */
export interface JsonLimits {
  /** Objects and arrays in each other. @default 64 */
  depth?: number;
  /** Values in all. @default 100000 */
  values?: number;
}

/** Largest document, in bytes. */
const MAX_JSON_SIZE = 4 * 1024 * 1024;

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORDS: readonly (readonly [string, JsonWord["value"]])[] = [
  ["true", true],
  ["false", false],
  ["null", null],
];
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The text of a document.
 *
 * @throws {JsonError} when it is no UTF-8, or larger than 4 MiB
 */
export function jsonText(bytes: Uint8Array, what: string): string {
  if (bytes.length > MAX_JSON_SIZE) {
    throw new JsonError(what, `${bytes.length} bytes, more than ${MAX_JSON_SIZE}`);
  }
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new JsonError(what, "invalid UTF-8", { cause });
  }
}

/**
 * Parses a document.
 *
 * @param text all of it
 * @param what what it is called in errors
 * @throws {JsonError} for the first fault, with its place; in the words of Go's parser
 */
export function parseStrictJson(text: string, what: string, limits: JsonLimits = {}): JsonNode {
  return new Parser(text, what, limits).parse();
}

/**
 * The line and column of a place in a text.
 *
 * @param at in UTF-16 units from the start
 */
export function textPosition(text: string, at: number): TextPosition {
  let line = 1;
  let start = 0;
  for (;;) {
    const end = text.indexOf("\n", start);
    if (end < 0 || end >= at) return { line, column: at - start + 1 };
    line++;
    start = end + 1;
  }
}

interface OpenObject {
  readonly kind: "object";
  readonly at: number;
  readonly members: Map<string, { keyAt: number; value: JsonNode }>;
  key: string;
  keyAt: number;
}

interface OpenArray {
  readonly kind: "array";
  readonly at: number;
  readonly elements: JsonNode[];
}

class Parser {
  readonly #text: string;
  readonly #what: string;
  readonly #depth: number;
  #left: number;
  #at = 0;

  constructor(text: string, what: string, limits: JsonLimits) {
    this.#text = text;
    this.#what = what;
    this.#depth = limits.depth ?? 64;
    this.#left = limits.values ?? 100_000;
  }

  parse(): JsonNode {
    const open: (OpenObject | OpenArray)[] = [];
    for (;;) {
      // Here a value begins.
      let done = this.#value();
      if (done.kind === "array" || done.kind === "object") {
        if (open.length === this.#depth) throw this.#fault(`nested more than ${this.#depth} deep`);
        if (done.kind === "object") {
          const object = { ...done, members: new Map(), key: "", keyAt: 0 };
          if (!this.#closes("}")) {
            this.#key(object, "beginning of object key string");
            open.push(object);
            continue;
          }
        } else if (!this.#closes("]")) {
          open.push({ ...done, elements: [] });
          continue;
        }
      }
      // Here one ended; it may be the last of what is around it.
      for (;;) {
        const around = open.at(-1);
        if (around === undefined) return this.#end(done);
        if (around.kind === "object") {
          around.members.set(around.key, { keyAt: around.keyAt, value: done });
          if (this.#follows("}", "after object key:value pair")) {
            this.#key(around, "beginning of object key string");
            break;
          }
          done = { kind: "object", at: around.at, members: around.members };
        } else {
          around.elements.push(done);
          if (this.#follows("]", "after array element")) break;
          done = { kind: "array", at: around.at, elements: around.elements };
        }
        open.pop();
      }
    }
  }

  /** A scalar, or an object or array of which only the bracket is read. */
  #value(): JsonNode {
    if (--this.#left < 0) throw this.#fault("too many values");
    const char = this.#peek();
    const at = this.#at;
    if (char === "{") {
      this.#at++;
      return { kind: "object", at, members: new Map() };
    }
    if (char === "[") {
      this.#at++;
      return { kind: "array", at, elements: [] };
    }
    if (char === '"') return { kind: "string", at, value: this.#string() };
    NUMBER.lastIndex = at;
    const number = NUMBER.exec(this.#text);
    if (number !== null) {
      this.#at += number[0].length;
      return { kind: "number", at, text: number[0] };
    }
    for (const [word, value] of WORDS) {
      if (!this.#text.startsWith(word, at)) continue;
      this.#at += word.length;
      return { kind: value === null ? "null" : "boolean", at, value };
    }
    throw this.#unexpected("looking for beginning of value");
  }

  #key(object: OpenObject, looking: string): void {
    if (this.#peek() !== '"') throw this.#unexpected(`looking for ${looking}`);
    object.keyAt = this.#at;
    object.key = this.#string();
    if (object.members.has(object.key)) {
      throw this.#fault(`Duplicate key ${JSON.stringify(object.key)}`, object.keyAt);
    }
    if (this.#peek() !== ":") throw this.#unexpected("after object key");
    this.#at++;
  }

  #string(): string {
    const text = this.#text;
    const start = ++this.#at;
    let out = "";
    let from = start;
    for (;; this.#at++) {
      const unit = text.charCodeAt(this.#at);
      if (Number.isNaN(unit)) throw this.#fault("unexpected end of JSON input");
      if (unit < 0x20) throw this.#unexpected("in string literal");
      if (unit === 0x22) break;
      if (unit !== 0x5c) continue;
      out += text.slice(from, this.#at);
      this.#at++;
      out += this.#escape();
      from = this.#at + 1;
    }
    out += text.slice(from, this.#at++);
    return out;
  }

  /** What an escape stands for; leaves the position at its last unit. */
  #escape(): string {
    const char = this.#text[this.#at];
    if (char === "u") {
      const hex = this.#text.slice(this.#at + 1, this.#at + 5);
      if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw this.#fault("invalid \\u escape in string literal");
      this.#at += 4;
      return String.fromCharCode(parseInt(hex, 16));
    }
    const plain = char === undefined ? undefined : ESCAPES[char];
    if (plain === undefined) throw this.#unexpected("in string escape code");
    return plain;
  }

  /** Whether more follows; otherwise the bracket is read. */
  #follows(bracket: string, where: string): boolean {
    const char = this.#peek();
    if (char !== "," && char !== bracket) throw this.#unexpected(where);
    this.#at++;
    return char === ",";
  }

  #closes(bracket: string): boolean {
    if (this.#peek() !== bracket) return false;
    this.#at++;
    return true;
  }

  #end(root: JsonNode): JsonNode {
    if (this.#peek() !== undefined) throw this.#unexpected("after top-level value");
    return root;
  }

  /** The next character that is no blank. */
  #peek(): string | undefined {
    const text = this.#text;
    for (;; this.#at++) {
      const unit = text.charCodeAt(this.#at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) break;
    }
    return text[this.#at];
  }

  #unexpected(where: string): JsonError {
    const code = this.#text.codePointAt(this.#at);
    if (code === undefined) return this.#fault("unexpected end of JSON input");
    const shown = code < 0x20 || code === 0xfeff
      ? `\\u${code.toString(16).padStart(4, "0")}`
      : String.fromCodePoint(code);
    return this.#fault(`invalid character '${shown}' ${where}`);
  }

  #fault(reason: string, at = this.#at): JsonError {
    return new JsonError(this.#what, reason, { at });
  }
}
