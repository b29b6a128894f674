/** Decompressing xz, the compression of static deltas. */
import { FormatError } from "../base/mod.ts";
import { carved, type Fd, lzma, writeAll } from "../../ffi/mod.ts";
import { BytesInFile, BytesInMemory, type PartBytes, piecesOf } from "./part_bytes.ts";

const FORMAT = "xz";
/** Larger results go to a file. */
const IN_MEMORY = 64 * 1024 * 1024;
/** What is packed larger is read by and by. */
const PACKED_IN_MEMORY = 32 * 1024 * 1024;
/** Views of smaller buffers have no address that stays. */
const LEAST = 128;

/** Opens an unnamed file. */
export type OpenScratch = () => Fd | Promise<Fd>;

/**
 * Decompresses an xz container: with liblzma where that is, else with a slower package. A result
 * above 64 MiB is in a file.
 *
 * @param limit largest result in bytes
 * @throws {FormatError} when it is malformed, cut off, or gives more than `limit` bytes
 */
export async function unxz(
  data: PartBytes,
  limit: number,
  scratch: OpenScratch,
): Promise<PartBytes> {
  const library = lzma();
  if (library === undefined) return await unxzAnywhere(data, limit, scratch);
  if (data.size <= PACKED_IN_MEMORY) {
    const packed = data.get(0, data.size);
    if (library.announcedSize(packed) <= IN_MEMORY) {
      return new BytesInMemory(library.decompress(packed, limit));
    }
  }
  return await spool(library.decompressPieces(piecesOf(data), limit), scratch);
}

/**
 * Decompresses an xz container whose dictionary takes at most 64 MiB without the help of a library
 * of the system; this is the one door to the package that does it.
 *
 * @param limit largest result in bytes
 * @throws {FormatError} when it is malformed, cut off, or gives more than `limit` bytes
 */
export async function unxzAnywhere(
  data: PartBytes,
  limit: number,
  scratch: OpenScratch,
): Promise<PartBytes> {
  const { default: xz } = await import("npm:xz-decompress@0.2.3");
  try {
    const stream = new xz.XzReadableStream(
      ReadableStream.from(copies(data)) as ReadableStream<Uint8Array<ArrayBuffer>>,
    );
    return await spool(bounded(stream, limit), scratch);
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(FORMAT, "Decompressing xz failed: damaged or cut off", { cause });
  }
}

async function* copies(data: PartBytes): AsyncGenerator<Uint8Array, void, undefined> {
  for (const piece of piecesOf(data)) yield piece.slice();
}

async function* bounded(
  pieces: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let size = 0;
  for await (const piece of pieces) {
    size += piece.length;
    if (size > limit) throw new FormatError(FORMAT, `more than ${limit} bytes`);
    yield piece;
  }
}

/** Gathers pieces in memory, and in a file when they get too many. */
async function spool(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  scratch: OpenScratch,
): Promise<PartBytes> {
  using cleanup = new DisposableStack();
  const held: Uint8Array[] = [];
  let file: Fd | undefined;
  let size = 0;
  for await (const piece of pieces) {
    size += piece.length;
    if (size <= IN_MEMORY) {
      held.push(piece.slice());
      continue;
    }
    if (file === undefined) {
      file = cleanup.use(await scratch());
      for (const one of held.splice(0)) writeAll(file, carved(one));
    }
    writeAll(file, carved(piece));
  }
  cleanup.move();
  if (file !== undefined) return new BytesInFile(file, { start: 0, size });
  const out = new Uint8Array(Math.max(size, LEAST)).subarray(0, size);
  let at = 0;
  for (const piece of held) {
    out.set(piece, at);
    at += piece.length;
  }
  return new BytesInMemory(out);
}
