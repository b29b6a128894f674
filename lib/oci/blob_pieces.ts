/** Reading a blob that may still be arriving; blocks its thread, so it is for workers. */
import { FormatError } from "../base/mod.ts";
import { preadFull } from "../../ffi/mod.ts";
import { waitForMore } from "../transport/mod.ts";

/** A blob as sent to a worker. */
export interface BlobTask {
  /** Number of its descriptor. */
  readonly fd: number;
  /** Where it starts in the file, in bytes. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly size: number;
  /** Memory of its arrival, when it is still arriving. */
  readonly arrived?: SharedArrayBuffer | undefined;
}

const READ_SIZE = 256 * 1024;
/** Bytes that tell how a blob is packed. */
const HEAD_SIZE = 4;

/**
 * The bytes of a blob, as soon as they are there; all pieces come in one buffer, each valid until
 * the next one is asked for.
 *
 * @throws {FormatError} when it is shorter than announced
 * @throws {ComposefsError} when the rest will not come
 */
export function* blobPieces(blob: BlobTask): Generator<Uint8Array, void, undefined> {
  const { fd, offset, size, arrived } = blob;
  const buffer = new Uint8Array(READ_SIZE);
  let there = arrived === undefined ? size : 0;
  for (let done = 0; done < size;) {
    if (there === done) there = Math.min(waitForMore(arrived!, done), size);
    const piece = buffer.subarray(0, there - done);
    const got = preadFull(fd, piece, offset + done);
    if (got !== piece.length) {
      throw new FormatError("blob", `Blob ended after ${done + got} of ${size} bytes`);
    }
    done += got;
    yield piece;
  }
}

/** The first bytes of a blob, which tell how it is packed; waits until they are there. */
export function blobHead({ fd, offset, size, arrived }: BlobTask): Uint8Array {
  const head = new Uint8Array(new ArrayBuffer(4096), 0, Math.min(HEAD_SIZE, size));
  if (arrived !== undefined && head.length > 0) waitForMore(arrived, head.length - 1);
  return head.subarray(0, preadFull(fd, head, offset));
}
