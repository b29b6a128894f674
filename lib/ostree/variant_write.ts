/** Writing GVariant values in normal form (spec: ostree 1). */
import { fromByteString } from "../base/mod.ts";
import { Variant, type VariantValue } from "./variant.ts";
import { containerSize, type VariantType, variantType } from "./variant_type.ts";

/**
 * Serializes a value in normal form.
 *
 * @param type its type string, which the value must fit
 * @throws {TypeError} when the value does not fit the type
 */
export function encodeVariant(type: string, value: VariantValue): Uint8Array<ArrayBuffer> {
  const writer = new VariantWriter();
  writer.value(variantType(type), value);
  return writer.finish();
}

const encoder = new TextEncoder();

class VariantWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  /** Makes room for `count` zero bytes; returns where they start. */
  #add(count: number): number {
    const at = this.#length;
    const need = at + count;
    if (need > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(need, 2 * this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = need;
    return at;
  }

  #append(bytes: Uint8Array): void {
    const at = this.#add(bytes.length);
    this.#bytes.set(bytes, at);
  }

  #align(alignment: number): void {
    const over = this.#length % alignment;
    if (over !== 0) this.#add(alignment - over);
  }

  /** Writes a value at its alignment; values come from this program, so depth is the type's. */
  value(type: VariantType, value: VariantValue): void {
    this.#align(type.alignment);
    switch (type.kind) {
      case "b":
        if (typeof value !== "boolean") throw mismatch(type);
        this.#bytes[this.#add(1)] = value ? 1 : 0;
        return;
      case "y":
      case "n":
      case "q":
      case "i":
      case "u":
      case "h":
      case "d":
        if (typeof value !== "number") throw mismatch(type);
        return this.#number(type, value);
      case "t":
      case "x":
        if (typeof value !== "bigint") throw mismatch(type);
        this.#view.setBigUint64(this.#add(8), BigInt.asUintN(64, value), true);
        return;
      case "s":
      case "o":
      case "g":
        if (typeof value !== "string" || value.includes("\0")) throw mismatch(type);
        this.#append(encoder.encode(value));
        this.#add(1);
        return;
      case "v":
        if (!(value instanceof Variant)) throw mismatch(type);
        if (value.bytes !== undefined) this.#append(value.bytes);
        else this.value(variantType(value.type), value.value);
        this.#add(1);
        this.#append(fromByteString(value.type));
        return;
      case "m":
        if (value === null) return;
        if (!isArray(value) || value.length !== 1) throw mismatch(type);
        this.value(type.children[0]!, value[0]!);
        if (type.children[0]!.fixedSize === 0) this.#add(1);
        return;
      case "a":
        return this.#array(type, value);
      default:
        return this.#tuple(type, value);
    }
  }

  #number(type: VariantType, value: number): void {
    const at = this.#add(type.fixedSize);
    if (type.kind === "d") return this.#view.setFloat64(at, value, true);
    if (!Number.isInteger(value)) throw mismatch(type);
    if (type.fixedSize === 1) this.#view.setUint8(at, value);
    else if (type.fixedSize === 2) this.#view.setUint16(at, value, true);
    else this.#view.setUint32(at, value, true);
  }

  #array(type: VariantType, value: VariantValue): void {
    const child = type.children[0]!;
    if (value instanceof Uint8Array) {
      if (child.kind !== "y") throw mismatch(type);
      return this.#append(value);
    }
    if (!isArray(value)) throw mismatch(type);
    if (child.fixedSize !== 0) {
      for (const part of value) this.value(child, part);
      return;
    }
    const start = this.#length;
    const ends: number[] = [];
    for (const part of value) {
      this.value(child, part);
      ends.push(this.#length - start);
    }
    this.#frame(start, ends);
  }

  #tuple(type: VariantType, value: VariantValue): void {
    const { children } = type;
    if (!isArray(value) || value.length !== children.length) throw mismatch(type);
    const start = this.#length;
    const ends: number[] = [];
    children.forEach((child, i) => {
      this.value(child, value[i]!);
      if (child.fixedSize === 0 && i < children.length - 1) ends.unshift(this.#length - start);
    });
    if (type.fixedSize !== 0) this.#add(type.fixedSize - (this.#length - start));
    else this.#frame(start, ends);
  }

  /** Writes framing offsets of the smallest width that does. */
  #frame(start: number, ends: readonly number[]): void {
    if (ends.length === 0) return;
    const body = this.#length - start;
    const width = (containerSize(body, ends.length) - body) / ends.length;
    let at = this.#add(ends.length * width);
    for (const end of ends) {
      if (width === 1) this.#view.setUint8(at, end);
      else if (width === 2) this.#view.setUint16(at, end, true);
      else if (width === 4) this.#view.setUint32(at, end, true);
      else this.#view.setBigUint64(at, BigInt(end), true);
      at += width;
    }
  }
}

function isArray(value: VariantValue): value is readonly VariantValue[] {
  return Array.isArray(value);
}

function mismatch(type: VariantType): TypeError {
  return new TypeError(`Value does not fit the variant type '${type.text}'`);
}
