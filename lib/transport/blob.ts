/** Blobs: a stretch of a file, which may still be growing. */
import type { Arrival } from "./arrival.ts";
import { type Descriptor, MAX_DOCUMENT_SIZE } from "./documents.ts";
import {
  type Digest,
  DigestMismatchError,
  FormatError,
  type HashName,
  nodeHash,
  toHex,
} from "../base/mod.ts";
import { type Fd, preadFull } from "../../ffi/mod.ts";

/** A blob that can be read at any place; disposing of it gives its descriptor back. */
export interface Blob extends Disposable {
  /** Open file. */
  readonly fd: Fd;
  /** Where the blob starts in the file, in bytes. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly size: number;
  /** How much of it is there, when it is still arriving. */
  readonly arrival?: Arrival | undefined;
  /** Whether an earlier run has left its beginning. */
  readonly resumed?: boolean;
  /** Gives up what is kept to go on with later: it is not needed any more, or wrong. */
  release?(): void;
  /** Tells that its content is wrong; whether it is worth asking for it again, from elsewhere. */
  distrust?(): Promise<boolean>;
}

/** Blobs by descriptor: an opened layout or archive. */
export interface BlobStore extends Disposable {
  /** What the source is called in messages. */
  readonly name: string;
  /**
   * Opens a blob; only its size is known to be right.
   *
   * @throws {NotFoundError} when the source does not have it
   * @throws {FormatError} when it is no regular file or has another size
   */
  blob(descriptor: Descriptor): Blob;
}

/** The hash function of a digest that content can be checked against. */
export function digestHash(digest: Digest): HashName {
  if (digest.algorithm === "sha256" || digest.algorithm === "sha512") return digest.algorithm;
  throw new FormatError("digest", `Cannot check content against ${digest}: unknown algorithm`);
}

/**
 * Checks content against the digest it was announced with.
 *
 * @throws {DigestMismatchError} when it is other content
 */
export function verifyBytes(bytes: Uint8Array, digest: Digest, what: string): void {
  const hash = nodeHash.stream(digestHash(digest));
  hash.update(bytes);
  const actual = `${digest.algorithm}:${toHex(hash.digest())}`;
  if (actual !== digest.toString()) throw new DigestMismatchError(what, digest.toString(), actual);
}

/**
 * Checks that a blob has the announced size.
 *
 * @throws {FormatError} `Expected size A but found B`
 */
export function checkBlobSize(descriptor: Descriptor, found: number): void {
  if (found !== descriptor.size) {
    throw new FormatError(
      "blob",
      `Blob ${descriptor.digest}: Expected size ${descriptor.size} but found ${found}`,
    );
  }
}

/**
 * Checks that a document is not too big to be one.
 *
 * @throws {FormatError} when it is
 */
export function checkDocumentSize(descriptor: Descriptor, what: string): void {
  if (descriptor.size <= MAX_DOCUMENT_SIZE) return;
  throw new FormatError(
    what,
    `${what} ${descriptor.digest} has ${descriptor.size} bytes, more than ${MAX_DOCUMENT_SIZE}`,
  );
}

/** Reads and verifies a JSON document (manifest, index, config). */
export function readDocument(
  store: BlobStore,
  descriptor: Descriptor,
  what: string,
): Uint8Array<ArrayBuffer> {
  checkDocumentSize(descriptor, what);
  using blob = store.blob(descriptor);
  const bytes = readRange(blob, what);
  verifyBytes(bytes, descriptor.digest, what);
  return bytes;
}

/** A whole small blob. */
export function readRange(
  blob: Pick<Blob, "fd" | "offset" | "size">,
  what: string,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(blob.size, 4096)), 0, blob.size);
  const got = preadFull(blob.fd, bytes, blob.offset);
  if (got !== blob.size) {
    throw new FormatError(what, `${what} is truncated: expected ${blob.size} bytes, found ${got}`);
  }
  return bytes;
}
