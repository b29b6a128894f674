import type { Algorithm } from "../base/mod.ts";

/** Size of the fs-verity descriptor in bytes (struct fsverity_descriptor, linux/fsverity.h). */
export const DESCRIPTOR_SIZE = 256;

/** Offsets of the descriptor's fields that composefs fills; the rest is zero. */
export const DESCRIPTOR = {
  version: [0, "u8"],
  hashAlgorithm: [1, "u8"],
  logBlockSize: [2, "u8"],
  saltSize: [3, "u8"],
  dataSize: [8, "u64"],
  rootHash: [16, "bytes"],
} as const;

/** Fills `out` with the descriptor of a file; the root hash is left zero. */
export function descriptor(
  out: Uint8Array,
  file: { algorithm: Algorithm; lgBlockSize: number; size: number },
): void {
  out.fill(0);
  out[DESCRIPTOR.version[0]] = 1;
  out[DESCRIPTOR.hashAlgorithm[0]] = file.algorithm.kernelId;
  out[DESCRIPTOR.logBlockSize[0]] = file.lgBlockSize;
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  view.setUint32(DESCRIPTOR.dataSize[0], file.size % 2 ** 32, true);
  view.setUint32(DESCRIPTOR.dataSize[0] + 4, Math.floor(file.size / 2 ** 32), true);
}
