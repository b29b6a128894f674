/** Decompressing xz, the compression of static deltas: the one door to the package that does it. */
import xz from "npm:xz-decompress@0.2.3";
import { FormatError } from "../base/mod.ts";

const FORMAT = "xz";
/** Views of smaller buffers have no address that stays. */
const LEAST = 128;

/**
 * Decompresses an xz container whose dictionary takes at most 64 MiB.
 *
 * @param limit largest result in bytes
 * @throws {FormatError} when it is malformed, cut off, or gives more than `limit` bytes
 */
export async function unxz(data: Uint8Array, limit: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    const packed = new Blob([data as Uint8Array<ArrayBuffer>]).stream();
    for await (const piece of new xz.XzReadableStream(packed)) {
      size += piece.length;
      if (size > limit) throw new FormatError(FORMAT, `more than ${limit} bytes`);
      pieces.push(piece);
    }
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(FORMAT, "Decompressing xz failed: damaged or cut off", { cause });
  }
  const out = new Uint8Array(Math.max(size, LEAST)).subarray(0, size);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
