/** Metadata of commits as text (spec: ostree 5, inspect). */
import { toHex } from "../base/mod.ts";
import type { MetadataEntries } from "./commit_object.ts";
import type { Variant, VariantValue } from "./variant.ts";
import { encodeVariant } from "./variant_write.ts";

/** A metadata value as the reference prints it. */
export function formatMetadataValue(value: Variant): string {
  switch (value.type) {
    case "s":
      return value.value as string;
    case "b":
    case "u":
    case "t":
      return String(value.value);
    case "as":
      return `[${(value.value as readonly string[]).join(", ")}]`;
    case "ay":
      return toHex(value.value as Uint8Array);
  }
  return `<${value.type}:${toHex(value.bytes ?? encodeVariant(value.type, value.value))}>`;
}

/** A metadata value as plain data for JSON; what JSON has no form for is text. */
export function metadataToJson(entries: MetadataEntries): Record<string, unknown> {
  return Object.fromEntries(entries.map(([key, value]) => [key, jsonValue(value)]));
}

function jsonValue(value: Variant): unknown {
  const plain: VariantValue = value.value;
  if (value.type === "as" || value.type === "b" || value.type === "s" || value.type === "u") {
    return plain;
  }
  return formatMetadataValue(value);
}
