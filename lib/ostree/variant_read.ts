/** Reading GVariant values in normal form (spec: ostree 1). */
import { FormatError, toByteString } from "../base/mod.ts";
import { Variant, type VariantValue } from "./variant.ts";
import {
  align,
  isVariantSignature,
  MAX_TYPE_LENGTH,
  MAX_VARIANT_DEPTH,
  offsetWidth,
  type VariantType,
  variantType,
} from "./variant_type.ts";

/** How a value is read. */
export interface DecodeVariantOptions {
  /** Where the value starts, in bytes; alignment counts from here. @default 0 */
  start?: number;
  /** Where it ends. @default the end of the bytes */
  end?: number;
}

/**
 * Reads a value of a type, which must be in normal form and fill the range. Byte arrays in the
 * result are views of `bytes`.
 *
 * @throws {FormatError} saying where the value is not in normal form
 */
export function decodeVariant(
  type: string,
  bytes: Uint8Array,
  options: DecodeVariantOptions = {},
): VariantValue {
  const start = options.start ?? 0;
  const end = options.end ?? bytes.length;
  if (start < 0 || end < start || end > bytes.length) {
    throw new FormatError("variant", `Range ${start}..${end} is outside the data`);
  }
  return new VariantReader(bytes, start).value(variantType(type), start, end);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What a string's bytes need before they are a string. */
function classify(bytes: Uint8Array, start: number, end: number): "ascii" | "utf-8" | "nul" {
  let seen = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === 0) return "nul";
    seen |= byte;
  }
  return seen > 0x7f ? "utf-8" : "ascii";
}

/** Reads one value; a fresh one for each. */
class VariantReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #origin: number;
  #depth = 0;

  constructor(bytes: Uint8Array, origin: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#origin = origin;
  }

  /** The value of `type` in `[start, end)`; `start` is aligned for it. */
  value(type: VariantType, start: number, end: number): VariantValue {
    if (type.fixedSize !== 0 && end - start !== type.fixedSize) {
      throw this.#fault(`'${type.text}' of ${end - start} bytes`, start);
    }
    const view = this.#view;
    switch (type.kind) {
      case "y":
        return this.#bytes[start]!;
      case "b": {
        const byte = this.#bytes[start]!;
        if (byte > 1) throw this.#fault(`boolean ${byte}`, start);
        return byte === 1;
      }
      case "u":
        return view.getUint32(start, true);
      case "i":
      case "h":
        return view.getInt32(start, true);
      case "q":
        return view.getUint16(start, true);
      case "n":
        return view.getInt16(start, true);
      case "t":
        return view.getBigUint64(start, true);
      case "x":
        return view.getBigInt64(start, true);
      case "d":
        return view.getFloat64(start, true);
      case "s":
      case "o":
      case "g":
        return this.#text(type.kind, start, end);
    }
    // The depth of containers is bounded, so this recursion is too.
    if (++this.#depth > MAX_VARIANT_DEPTH) {
      throw this.#fault(`nested more than ${MAX_VARIANT_DEPTH} deep`, start);
    }
    const value = this.#container(type, start, end);
    this.#depth--;
    return value;
  }

  #container(type: VariantType, start: number, end: number): VariantValue {
    switch (type.kind) {
      case "a": {
        const child = type.children[0]!;
        if (child.kind === "y") return this.#bytes.subarray(start, end);
        return child.fixedSize === 0
          ? this.#array(child, start, end)
          : this.#fixedArray(child, start, end);
      }
      case "m":
        return this.#maybe(type.children[0]!, start, end);
      case "v":
        return this.#variant(start, end);
      default:
        return this.#tuple(type, start, end);
    }
  }

  #text(kind: string, start: number, end: number): string {
    if (end === start || this.#bytes[end - 1] !== 0) {
      throw this.#fault("string without a terminating NUL", start);
    }
    const raw = this.#bytes.subarray(start, end - 1);
    const content = classify(this.#bytes, start, end - 1);
    if (content === "nul") throw this.#fault("string with a NUL inside", start);
    const text = content === "ascii" ? toByteString(raw) : this.#decode(raw, start);
    if (kind === "o" && !/^\/(?:[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*)?$/.test(text)) {
      throw this.#fault("invalid object path", start);
    }
    if (kind === "g" && !isVariantSignature(text)) throw this.#fault("invalid signature", start);
    return text;
  }

  #decode(raw: Uint8Array, start: number): string {
    try {
      return decoder.decode(raw);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw this.#fault("string that is not UTF-8", start);
    }
  }

  #fixedArray(child: VariantType, start: number, end: number): VariantValue[] {
    const size = child.fixedSize;
    if ((end - start) % size !== 0) {
      throw this.#fault(`array of ${end - start} bytes with elements of ${size}`, start);
    }
    const out: VariantValue[] = [];
    for (let at = start; at < end; at += size) out.push(this.value(child, at, at + size));
    return out;
  }

  #array(child: VariantType, start: number, end: number): VariantValue[] {
    const size = end - start;
    if (size === 0) return [];
    const width = offsetWidth(size);
    const table = this.#offset(end - width, width);
    if (table > size - width || (size - table) % width !== 0) {
      throw this.#fault(`array whose last element ends at ${table} of ${size} bytes`, start);
    }
    const count = (size - table) / width;
    this.#checkWidth(table, count, width, start);
    const out: VariantValue[] = [];
    let at = 0;
    for (let i = 0; i < count; i++) {
      const stop = this.#offset(start + table + i * width, width);
      if (stop > table) throw this.#fault(`element ${i} of an array ends at ${stop}`, start);
      at = this.#pad(start, at, child.alignment, stop);
      out.push(this.value(child, start + at, start + stop));
      at = stop;
    }
    return out;
  }

  #maybe(child: VariantType, start: number, end: number): VariantValue {
    if (start === end) return null;
    if (child.fixedSize !== 0) return [this.value(child, start, end)];
    if (this.#bytes[end - 1] !== 0) throw this.#fault("maybe without its zero byte", start);
    return [this.value(child, start, end - 1)];
  }

  #variant(start: number, end: number): Variant {
    let mark = end - 1;
    while (mark >= start && this.#bytes[mark] !== 0) mark--;
    if (mark < start) throw this.#fault("variant without a type", start);
    if (end - mark > MAX_TYPE_LENGTH) throw this.#fault("type string too long", mark);
    const type = variantType(toByteString(this.#bytes.subarray(mark + 1, end)));
    const value = this.value(type, start, mark);
    return new Variant(type.text, value, this.#bytes.subarray(start, mark));
  }

  #tuple(type: VariantType, start: number, end: number): VariantValue[] {
    const size = end - start;
    const width = offsetWidth(size);
    const frame = type.offsets * width;
    if (frame > size || type.offsets > size) {
      throw this.#fault(`'${type.text}' of ${size} bytes`, start);
    }
    const body = size - frame;
    this.#checkWidth(body, type.offsets, width, start);
    const out: VariantValue[] = [];
    let at = 0;
    let table = end;
    const last = type.children.length - 1;
    for (let i = 0; i <= last; i++) {
      const child = type.children[i]!;
      let stop: number;
      if (child.fixedSize !== 0) {
        stop = align(at, child.alignment) + child.fixedSize;
      } else if (i === last) {
        stop = body;
      } else {
        table -= width;
        stop = this.#offset(table, width);
      }
      if (stop > body) throw this.#fault(`member ${i} of '${type.text}' ends at ${stop}`, start);
      at = this.#pad(start, at, child.alignment, stop);
      out.push(this.value(child, start + at, start + stop));
      at = stop;
    }
    // What is left of a fixed-size tuple is padding; nothing may be left of another.
    if (type.fixedSize !== 0) this.#zeros(start + at, end);
    else if (at !== body) throw this.#fault(`${body - at} unused bytes in '${type.text}'`, start);
    return out;
  }

  /** Moves `at` up to an alignment over zero bytes; the result is at most `stop`. */
  #pad(start: number, at: number, alignment: number, stop: number): number {
    const to = align(at, alignment);
    if (to > stop) throw this.#fault(`part ends at ${stop} before it starts at ${to}`, start);
    this.#zeros(start + at, start + to);
    return to;
  }

  #zeros(from: number, to: number): void {
    for (let i = from; i < to; i++) {
      if (this.#bytes[i] !== 0) throw this.#fault("padding that is not zero", i);
    }
  }

  /** Checks that no smaller offsets would have done. */
  #checkWidth(body: number, count: number, width: number, start: number): void {
    if (width > 1 && count > 0 && offsetWidth(body + count * (width / 2)) < width) {
      throw this.#fault(`framing offsets of ${width} bytes where fewer do`, start);
    }
  }

  #offset(at: number, width: number): number {
    const view = this.#view;
    switch (width) {
      case 1:
        return view.getUint8(at);
      case 2:
        return view.getUint16(at, true);
      case 4:
        return view.getUint32(at, true);
      default:
        return Number(view.getBigUint64(at, true));
    }
  }

  #fault(what: string, at: number): FormatError {
    const offset = at - this.#origin;
    return new FormatError("variant", `Not normal form: ${what} at byte ${offset}`, { offset });
  }
}
