/** Unpacked copies in files without names. */
import { ComposefsError, FormatError } from "../base/mod.ts";
import { type Fd, fstatfs, preadFull, writeAll } from "../../ffi/mod.ts";
import type { Blob } from "./blob.ts";
import type { Compression } from "./media_types.ts";
import { openTemporary, temporaryDirectory } from "./scratch.ts";
import { sniffCompression, unpack } from "./unpack.ts";

type Stretch = Pick<Blob, "fd" | "offset" | "size">;

const READ_SIZE = 256 * 1024;
/** Largest copy that is made, in bytes. */
const MAX_COPY = 64 * 2 ** 30;
/** Bytes that are left free for others. */
const RESERVE = 64 * 2 ** 20;
/** Bytes between two looks at what is free. */
const LOOK = 16 * 2 ** 20;

/** How the bytes of a blob are packed. */
export function sniffBlob({ fd, offset, size }: Stretch): Compression {
  const head = new Uint8Array(new ArrayBuffer(4096), 0, Math.min(4, size));
  return sniffCompression(head.subarray(0, preadFull(fd, head, offset)));
}

/** The pieces of a blob; all come in one buffer. */
export function* readPieces({ fd, offset, size }: Stretch): Generator<Uint8Array, void, undefined> {
  const buffer = new Uint8Array(READ_SIZE);
  for (let done = 0; done < size;) {
    const piece = buffer.subarray(0, size - done);
    const got = preadFull(fd, piece, offset + done);
    if (got === 0) throw new FormatError("blob", `Blob ended after ${done} of ${size} bytes`);
    yield piece.subarray(0, got);
    done += got;
  }
}

/**
 * Unpacks a blob into a file without a name, in `$TMPDIR` or `/var/tmp`.
 *
 * @param options.maxSize largest copy in bytes. @default 64 GiB
 * @throws {ComposefsError} before the disk is full
 */
export async function unpackToTemporary(
  blob: Stretch,
  compression: Compression,
  options: { maxSize?: number } = {},
): Promise<Fd> {
  const { maxSize = MAX_COPY } = options;
  const dir = temporaryDirectory();
  const temporary = openTemporary();
  try {
    let size = 0;
    let looked = -LOOK;
    for await (const piece of unpack(readPieces(blob), compression)) {
      size += piece.length;
      if (size > maxSize) {
        throw new FormatError("archive", `It unpacks to more than ${maxSize} bytes`);
      }
      if (size - looked >= LOOK) {
        looked = size;
        if (fstatfs(temporary).available < RESERVE + LOOK) throw noRoom(dir, size);
      }
      writeAll(temporary, piece);
    }
    return temporary;
  } catch (error) {
    temporary.close();
    throw error;
  }
}

function noRoom(dir: string, size: number): ComposefsError {
  return new ComposefsError(
    "CFS_FAILED",
    `No room for an unpacked copy of more than ${size} bytes in ${dir}`,
  );
}
