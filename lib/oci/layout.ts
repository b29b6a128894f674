/** `oci:` layouts: `index.json` and `blobs/` in a directory (spec: oci 5.1). */
import { InvalidNameError, NotFoundError, withContext } from "../base/mod.ts";
import {
  AT_FDCWD,
  type Fd,
  fstat,
  isErrno,
  O,
  openAt,
  openAt2,
  openDir,
  RESOLVE,
} from "../../ffi/mod.ts";
import { type Blob, type BlobSource, checkBlobSize, readRange } from "./blob.ts";
import { type Descriptor, MAX_DOCUMENT_SIZE } from "./documents.ts";

/** A source that has an `index.json`. */
export interface LayoutSource extends BlobSource {
  /** Bytes of `index.json`, unverified: nothing announces their digest. */
  readonly index: Uint8Array;
}

/** Path of a blob below the layout; only digests whose encoding is hex have one. */
export function blobPath(descriptor: Descriptor): string {
  const { algorithm, encoded } = descriptor.digest;
  if (!/^[a-z0-9]+$/.test(algorithm) || !/^[0-9a-f]+$/.test(encoded)) {
    throw new InvalidNameError(`Digest ${descriptor.digest} cannot name a file of a layout`);
  }
  return `blobs/${algorithm}/${encoded}`;
}

class DirectoryLayout implements LayoutSource {
  readonly name: string;
  readonly index: Uint8Array;
  readonly #root: Fd;
  readonly #open: Fd[] = [];

  constructor(path: string, root: Fd, index: Uint8Array) {
    this.name = path;
    this.#root = root;
    this.index = index;
  }

  blob(descriptor: Descriptor): Blob {
    const path = blobPath(descriptor);
    let fd: Fd;
    try {
      // A layout from somewhere else must not lead us out of its directory.
      fd = openAt2(this.#root, path, {
        flags: O.RDONLY | O.NONBLOCK,
        resolve: RESOLVE.BENEATH | RESOLVE.NO_MAGICLINKS,
      });
    } catch (cause) {
      if (isErrno(cause, "ENOENT")) {
        throw new NotFoundError("blob", descriptor.digest.toString(), {
          message: `Blob ${descriptor.digest} is not in ${this.name}`,
          cause,
        });
      }
      throw withContext(`Opening blob ${descriptor.digest} in ${this.name}`, cause);
    }
    this.#open.push(fd);
    const { size } = fstat(fd);
    checkBlobSize(descriptor, size);
    return { fd, offset: 0, size };
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open.splice(0)) fd.close();
    this.#root.close();
  }
}

/** Opens the layout in a directory. */
export function openLayout(path: string): LayoutSource {
  let root: Fd;
  try {
    root = openDir(AT_FDCWD, path);
  } catch (cause) {
    throw withContext(`Opening OCI layout ${path}`, cause);
  }
  try {
    using fd = openIndex(root, path);
    const size = fstat(fd).size;
    if (size > MAX_DOCUMENT_SIZE) {
      throw new InvalidNameError(`index.json of ${path} has ${size} bytes`);
    }
    return new DirectoryLayout(path, root, readRange({ fd, offset: 0, size }, "index.json"));
  } catch (error) {
    root.close();
    throw error;
  }
}

function openIndex(root: Fd, path: string): Fd {
  try {
    return openAt(root, "index.json", { flags: O.RDONLY | O.NONBLOCK });
  } catch (cause) {
    throw new NotFoundError("image index", path, {
      message: `Cannot find the Image Index (index.json) in ${path}`,
      cause,
    });
  }
}
