/** Decompressing xz, the compression of static deltas. */
import { FormatError } from "../base/mod.ts";
import { lzma } from "../../ffi/mod.ts";

const FORMAT = "xz";
/** Views of smaller buffers have no address that stays. */
const LEAST = 128;

/**
 * Decompresses an xz container: with liblzma where that is, else with a slower package.
 *
 * @param limit largest result in bytes
 * @throws {FormatError} when it is malformed, cut off, or gives more than `limit` bytes
 */
export async function unxz(data: Uint8Array, limit: number): Promise<Uint8Array> {
  return lzma()?.decompress(data, limit) ?? await unxzAnywhere(data, limit);
}

/**
 * Decompresses an xz container whose dictionary takes at most 64 MiB without the help of a library
 * of the system; this is the one door to the package that does it.
 *
 * @param limit largest result in bytes
 * @throws {FormatError} when it is malformed, cut off, or gives more than `limit` bytes
 */
export async function unxzAnywhere(data: Uint8Array, limit: number): Promise<Uint8Array> {
  const { default: xz } = await import("npm:xz-decompress@0.2.3");
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
