/** OSTree checksums: SHA-256 in hex (spec: ostree 2). */
import { createHash } from "node:crypto";
import { FormatError, fromHex, toHex } from "../base/mod.ts";

/** Makes {@linkcode Checksum} a type of its own; exists in types only. */
export declare const checksumBrand: unique symbol;

/** A SHA-256 checksum in lower-case hex (64 digits): the name of an OSTree object. */
export type Checksum = string & { readonly [checksumBrand]: true };

/** Bytes of a checksum. */
export const CHECKSUM_SIZE = 32;

/** Whether `text` is a checksum in lower-case hex. */
export function isChecksum(text: string): text is Checksum {
  return /^[0-9a-f]{64}$/.test(text);
}

/**
 * Parses a checksum in lower-case hex.
 *
 * @throws {FormatError} when it is none
 */
export function parseChecksum(text: string): Checksum {
  if (isChecksum(text)) return text;
  const shown = text.length > 80 ? text.slice(0, 80) + "…" : text;
  throw new FormatError("ostree checksum", `Invalid checksum '${shown}'`);
}

/**
 * The checksum with these raw bytes.
 *
 * @throws {FormatError} when they are not 32
 */
export function checksumFromBytes(bytes: Uint8Array): Checksum {
  if (bytes.length !== CHECKSUM_SIZE) {
    throw new FormatError(
      "ostree checksum",
      `Invalid checksum of length ${bytes.length} expected ${CHECKSUM_SIZE}`,
    );
  }
  return toHex(bytes) as Checksum;
}

/** The raw bytes of a checksum. */
export function checksumBytes(checksum: Checksum): Uint8Array<ArrayBuffer> {
  return fromHex(checksum);
}

/** The checksum of bytes in memory. */
export function checksumOf(...parts: readonly Uint8Array[]): Checksum {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex") as Checksum;
}
