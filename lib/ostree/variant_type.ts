/** GVariant type strings, parsed once into what reading and writing need (spec: ostree 1). */
import { FormatError } from "../base/mod.ts";

/** Deepest nesting of containers and variants that is read or written. */
export const MAX_VARIANT_DEPTH = 64;

/** Longest type string that is accepted, in characters. */
export const MAX_TYPE_LENGTH = 4096;

/** Most types kept parsed, so that hostile input cannot fill the memory with types. */
const MAX_CACHED = 256;

/** A parsed GVariant type. */
export interface VariantType {
  /** The type string. */
  readonly text: string;
  /** Its first character: the basic type itself, or `a`, `m`, `v`, `(`, `{`. */
  readonly kind: string;
  /** Alignment in bytes: 1, 2, 4 or 8. */
  readonly alignment: number;
  /** Size in bytes of every value, 0 when values differ in size. */
  readonly fixedSize: number;
  /** Element type of `a` and `m`, members of `(` and `{`. */
  readonly children: readonly VariantType[];
  /** For `(` and `{`: members that have a framing offset. */
  readonly offsets: number;
}

/** Alignment and fixed size of each basic type. */
const BASIC: Readonly<Record<string, readonly [alignment: number, fixedSize: number]>> = {
  b: [1, 1],
  y: [1, 1],
  n: [2, 2],
  q: [2, 2],
  i: [4, 4],
  u: [4, 4],
  h: [4, 4],
  x: [8, 8],
  t: [8, 8],
  d: [8, 8],
  s: [1, 0],
  o: [1, 0],
  g: [1, 0],
  v: [8, 0],
};

const cache = new Map<string, VariantType>();

/**
 * Parses a type string that is one complete type.
 *
 * @throws {FormatError} when it is none, or nested too deeply
 */
export function variantType(text: string): VariantType {
  const known = cache.get(text);
  if (known !== undefined) return known;
  const parser = new TypeParser(text);
  const type = parser.type(0);
  parser.finish();
  if (cache.size < MAX_CACHED) cache.set(text, type);
  return type;
}

/** Whether `text` is a sequence of complete types, as the basic type `g` holds it. */
export function isVariantSignature(text: string): boolean {
  try {
    const parser = new TypeParser(text);
    while (!parser.done) parser.type(0);
    return true;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

class TypeParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    if (text.length > MAX_TYPE_LENGTH) {
      throw new FormatError("variant", `Type string of ${text.length} characters is too long`);
    }
    this.#text = text;
  }

  get done(): boolean {
    return this.#at === this.#text.length;
  }

  finish(): void {
    if (!this.done) throw this.#fault();
  }

  /** One type; recursion ends at {@linkcode MAX_VARIANT_DEPTH}. */
  type(depth: number): VariantType {
    if (depth > MAX_VARIANT_DEPTH) {
      throw new FormatError("variant", `Type nested more than ${MAX_VARIANT_DEPTH} deep`);
    }
    const start = this.#at;
    const kind = this.#text[this.#at++];
    if (kind === undefined) throw this.#fault();
    const basic = Object.hasOwn(BASIC, kind) ? BASIC[kind]! : undefined;
    if (basic !== undefined) {
      return {
        text: kind,
        kind,
        alignment: basic[0],
        fixedSize: basic[1],
        children: [],
        offsets: 0,
      };
    }
    switch (kind) {
      case "a":
      case "m": {
        const child = this.type(depth + 1);
        const text = this.#text.slice(start, this.#at);
        return {
          text,
          kind,
          alignment: child.alignment,
          fixedSize: 0,
          children: [child],
          offsets: 0,
        };
      }
      case "(":
        return this.#members(start, { close: ")", depth });
      case "{": {
        const entry = this.#members(start, { close: "}", depth });
        const key = entry.children[0];
        if (entry.children.length !== 2 || !Object.hasOwn(BASIC, key!.kind) || key!.kind === "v") {
          throw this.#fault();
        }
        return entry;
      }
    }
    throw this.#fault();
  }

  #members(start: number, options: { close: string; depth: number }): VariantType {
    const children: VariantType[] = [];
    while (this.#text[this.#at] !== options.close) children.push(this.type(options.depth + 1));
    this.#at++;
    let alignment = 1;
    let size = 0;
    let fixed = true;
    let offsets = 0;
    children.forEach((child, index) => {
      alignment = Math.max(alignment, child.alignment);
      if (child.fixedSize === 0) {
        fixed = false;
        if (index < children.length - 1) offsets++;
      }
      size = align(size, child.alignment) + child.fixedSize;
    });
    return {
      text: this.#text.slice(start, this.#at),
      kind: this.#text[start]!,
      alignment,
      // The empty tuple is one zero byte, so that no value has the size 0 that means "varies".
      fixedSize: fixed ? Math.max(align(size, alignment), 1) : 0,
      children,
      offsets,
    };
  }

  #fault(): FormatError {
    const shown = this.#text.length > 64 ? this.#text.slice(0, 64) + "…" : this.#text;
    return new FormatError("variant", `Invalid type string '${shown}'`, { offset: this.#at });
  }
}

/** `position` moved up to a multiple of `alignment`. */
export function align(position: number, alignment: number): number {
  const over = position % alignment;
  return over === 0 ? position : position + alignment - over;
}

/** Bytes of one framing offset in a container of `size` bytes. */
export function offsetWidth(size: number): number {
  if (size === 0) return 0;
  if (size <= 0xff) return 1;
  if (size <= 0xffff) return 2;
  return size <= 0xffffffff ? 4 : 8;
}

/** The smallest size of a container with `body` bytes and `count` framing offsets after them. */
export function containerSize(body: number, count: number): number {
  for (const width of [1, 2, 4]) {
    const size = body + count * width;
    if (offsetWidth(size) <= width) return size;
  }
  return body + count * 8;
}
