/** Zeros at the end of a tar that a faulty encoder has dropped (spec: zstd-chunked 1.2). */
import { type StreamHash, toHex } from "../base/mod.ts";

const BLOCK = 512;
/** Blocks of zeros that can be missing: less than a tar record and the end of the archive. */
const MOST = 20;

/**
 * How many bytes of zeros give a stream the digest it should have.
 *
 * @param hash has all bytes there are; stays usable
 * @param expected the digest in hex
 * @returns undefined when it is not only zeros that are missing
 */
export function missingPadding(hash: StreamHash, expected: string): number | undefined {
  const longer = hash.copy();
  const block = zeroPadding(BLOCK);
  for (let blocks = 1; blocks <= MOST; blocks++) {
    longer.update(block);
    if (toHex(longer.copy().digest()) === expected) return blocks * BLOCK;
  }
  return undefined;
}

/** So many bytes of zeros, carved from a larger buffer. */
export function zeroPadding(size: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(MOST * BLOCK), 0, size);
}
