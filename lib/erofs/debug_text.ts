/**
 * How the debug dump shows values (spec: erofs 5.6).
 *
 * @module
 */
import { toHex } from "../base/mod.ts";
import type { FieldType, Layout } from "./layout.ts";

const ROW = 16;
const HALF_ROW = 8;
const OFFSET_WIDTH = 8;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes as text, or undefined when they are not UTF-8. */
export function asText(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch (error) {
    // Not UTF-8 is one of the two answers.
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  "\0": "\\0",
  "\t": "\\t",
  "\n": "\\n",
  "\r": "\\r",
  '"': '\\"',
  "\\": "\\\\",
};

/** Text in double quotes with everything escaped that does not show. */
export function quoteText(text: string): string {
  const escaped = text.replace(
    /[\0\t\n\r"\\]|[^\P{C}]|[^\P{Z} ]|\p{Mn}|\p{Me}/gu,
    (c) => SHORT_ESCAPES[c] ?? `\\u{${c.codePointAt(0)!.toString(16)}}`,
  );
  return `"${escaped}"`;
}

/** Quoted text, or hex when the bytes are not UTF-8. */
export function textOrHex(bytes: Uint8Array): string {
  const text = asText(bytes);
  return text === undefined ? toHex(bytes) : quoteText(text);
}

/** An offset with its sign, right-aligned. */
export function signedHex(offset: number): string {
  return ("+" + offset.toString(16)).padStart(OFFSET_WIDTH);
}

/** One line of a field: its offset in the segment, its name, its value. */
export function fieldLine(offset: number, name: string, value: string): string {
  return `${signedHex(offset)}     ${name}: ${value}\n`;
}

/** Rows of 16 bytes in hex and ASCII; `start` is the offset of the first byte in the segment. */
export function* hexDump(bytes: Uint8Array, start = 0): Generator<string, void, undefined> {
  const end = start + bytes.length;
  for (let row = Math.floor(start / ROW) * ROW; row < end; row += ROW) {
    let hex = "";
    let ascii = "";
    for (let at = row; at < row + ROW; at++) {
      const byte = at >= start && at < end ? bytes[at - start] : undefined;
      hex += byte === undefined ? "   " : `${toHex(bytes, at - start, at - start + 1)} `;
      if (at % HALF_ROW === HALF_ROW - 1) hex += " ";
      if (byte === undefined) ascii += " ";
      else ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
    }
    yield `${signedHex(row)}  ${hex}|${ascii}|\n`;
  }
}

/** How one field of a structure is shown. */
interface ShownField {
  readonly offset: number;
  readonly type: FieldType | "u32s";
  readonly length: number;
  readonly label: string;
  /** Shows the value instead of the type's own form. */
  readonly show: ((value: number) => string) | undefined;
}

/** What the table of a structure does not say about how it is shown. */
export interface ShownLayoutOptions {
  /** The fields in the order in which they are shown. @default that of the table */
  readonly order?: readonly string[];
  /** Names that are not the table's name in snake case. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Own forms of some fields; such a field is always shown unless `zero` says otherwise. */
  readonly shows?: Readonly<Record<string, (value: number) => string>>;
  /** Fields of own form that are left out when they are 0. */
  readonly optional?: readonly string[];
  /** Fields of bytes that are arrays of 32-bit numbers. */
  readonly numbers?: readonly string[];
}

/** Shows the fields of a structure that are not zero. */
export class ShownLayout {
  readonly #fields: readonly ShownField[];
  readonly #optional: ReadonlySet<string>;

  /** Prepares a structure. */
  constructor(layout: Layout, options: ShownLayoutOptions = {}) {
    this.#optional = new Set(options.optional ?? []);
    this.#fields = (options.order ?? Object.keys(layout)).map((name) => {
      const [offset, type, length] = layout[name]!;
      return {
        offset,
        type: options.numbers?.includes(name) ? "u32s" : type,
        length: length ?? 0,
        label: options.labels?.[name] ??
          name.replace(/[A-Z]/g, (c) => "_" + c.toLowerCase()),
        show: options.shows?.[name],
      };
    });
  }

  /** The lines of the structure at `at`; offsets are shown relative to `base`. */
  *lines(view: DataView, at: number, base: number): Generator<string, void, undefined> {
    for (const field of this.#fields) {
      const value = this.#value(view, at + field.offset, field);
      if (value !== undefined) yield fieldLine(at + field.offset - base, field.label, value);
    }
  }

  #value(view: DataView, at: number, field: ShownField): string | undefined {
    if (field.show !== undefined) {
      const value = field.type === "u8" ? view.getUint8(at) : view.getUint16(at, true);
      return value === 0 && this.#optional.has(field.label) ? undefined : field.show(value);
    }
    return plainValue(view, at, field);
  }
}

function plainValue(view: DataView, at: number, field: ShownField): string | undefined {
  switch (field.type) {
    case "u8":
      return view.getUint8(at) === 0 ? undefined : String(view.getUint8(at));
    case "u16":
      return view.getUint16(at, true) === 0 ? undefined : `U16(${view.getUint16(at, true)})`;
    case "u32":
      return view.getUint32(at, true) === 0 ? undefined : `U32(${view.getUint32(at, true)})`;
    case "u64":
    case "i64": {
      const value = view.getBigUint64(at, true);
      return value === 0n ? undefined : `U64(${value})`;
    }
    case "u32s": {
      const numbers = u32s(view, at, field.length / 4);
      return numbers.every((n) => n === 0) ? undefined : showNumbers(numbers);
    }
    case "bytes": {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + at, field.length);
      return bytes.every((b) => b === 0) ? undefined : showBytes(bytes);
    }
  }
}

/** `count` 32-bit numbers. */
export function u32s(view: DataView, at: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => view.getUint32(at + 4 * i, true));
}

/** A list of 32-bit numbers. */
export function showNumbers(numbers: readonly number[]): string {
  return `[${numbers.map((n) => `U32(${n})`).join(", ")}]`;
}

/** A list of bytes. */
export function showBytes(bytes: Uint8Array): string {
  return `[${bytes.join(", ")}]`;
}
