/** What a GVariant value is in this program (spec: ostree 1). */
import { variantType } from "./variant_type.ts";

/**
 * A value by its type: `b` boolean; `y n q i u h d` number; `t x` bigint; `s o g` string; `ay`
 * bytes; `v` {@linkcode Variant}; `m` null or an array of one; `a ( {` an array of the parts.
 * Numbers are as stored in little-endian order: where OSTree keeps big-endian numbers, use
 * {@linkcode swap32} and {@linkcode swap64}.
 */
export type VariantValue =
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Variant
  | null
  | readonly VariantValue[];

/** A value that carries its type. */
export class Variant {
  /** Type string of the value. */
  readonly type: string;
  /** The value. */
  readonly value: VariantValue;
  /** The serialized value, when it was read; a view into what was read. */
  readonly bytes: Uint8Array | undefined;

  /**
   * Creates a variant.
   *
   * @param bytes the value as it was serialized; written as it is
   * @throws {FormatError} when `type` is no type string
   */
  constructor(type: string, value: VariantValue, bytes?: Uint8Array) {
    variantType(type);
    this.type = type;
    this.value = value;
    this.bytes = bytes;
  }
}

/** A u32 with its bytes turned round. */
export function swap32(value: number): number {
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) |
    (value >>> 24)) >>> 0;
}

/** A u64 with its bytes turned round. */
export function swap64(value: bigint): bigint {
  const low = swap32(Number(value & 0xffffffffn));
  const high = swap32(Number(value >> 32n));
  return (BigInt(low) << 32n) | BigInt(high);
}
