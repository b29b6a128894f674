/** `oci:` layouts: `index.json` and `blobs/` in a directory (spec: oci 5.1). */
import { FormatError, NotFoundError, withContext } from "../base/mod.ts";
import { AT_FDCWD, type Fd, fstat, isErrno, O, openAt2, openDir, RESOLVE } from "../../ffi/mod.ts";
import { type Blob, type BlobStore, checkBlobSize, digestHash, readRange } from "./blob.ts";
import { type Descriptor, MAX_DOCUMENT_SIZE } from "./documents.ts";

/** Blobs with an `index.json`. */
export interface LayoutStore extends BlobStore {
  /** Bytes of `index.json`, unverified: nothing announces their digest. */
  readonly index: Uint8Array;
}

/**
 * Path of a blob below the layout; only digests that content can be checked against have one.
 *
 * @throws {FormatError} for other digests
 */
export function blobPath(descriptor: Descriptor): string {
  const { digest } = descriptor;
  return `blobs/${digestHash(digest)}/${digest.encoded}`;
}

/** Opens a file of a layout from somewhere else: it must not lead us out of its directory. */
export function openBeneath(root: Fd, path: string): Fd {
  return openAt2(root, path, {
    flags: O.RDONLY | O.NONBLOCK,
    resolve: RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS,
  });
}

class DirectoryLayout implements LayoutStore {
  readonly name: string;
  readonly index: Uint8Array;
  readonly #root: Fd;

  constructor(path: string, root: Fd, index: Uint8Array) {
    this.name = path;
    this.#root = root;
    this.index = index;
  }

  blob(descriptor: Descriptor): Blob {
    const path = blobPath(descriptor);
    let fd: Fd;
    try {
      fd = openBeneath(this.#root, path);
    } catch (cause) {
      if (isErrno(cause, "ENOENT")) {
        throw new NotFoundError("blob", descriptor.digest.toString(), {
          message: `Blob ${descriptor.digest} is not in ${this.name}`,
          cause,
        });
      }
      throw withContext(`Opening blob ${descriptor.digest} in ${this.name}`, cause);
    }
    try {
      const { size, isFile } = fstat(fd);
      if (!isFile) throw new FormatError("blob", `Blob ${descriptor.digest} is no regular file`);
      checkBlobSize(descriptor, size);
      return { fd, offset: 0, size, [Symbol.dispose]: () => fd.close() };
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#root.close();
  }
}

/** Opens the layout in a directory. */
export function openLayout(path: string): LayoutStore {
  let root: Fd;
  try {
    root = openDir(AT_FDCWD, path);
  } catch (cause) {
    throw withContext(`Opening OCI layout ${path}`, cause);
  }
  try {
    using fd = openIndex(root, path);
    const { size, isFile } = fstat(fd);
    if (!isFile || size > MAX_DOCUMENT_SIZE) {
      throw new FormatError("image index", `index.json of ${path} is no file or too big`);
    }
    return new DirectoryLayout(path, root, readRange({ fd, offset: 0, size }, "index.json"));
  } catch (error) {
    root.close();
    throw error;
  }
}

function openIndex(root: Fd, path: string): Fd {
  try {
    return openBeneath(root, "index.json");
  } catch (cause) {
    if (!isErrno(cause, "ENOENT")) throw withContext(`Opening index.json in ${path}`, cause);
    throw new NotFoundError("image index", path, {
      message: `Cannot find the Image Index (index.json) in ${path}`,
      cause,
    });
  }
}
