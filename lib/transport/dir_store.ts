/** `dir:` directories as skopeo writes them: blobs by the hex digits of their digest (spec: oci 5). */
import { Digest, FormatError, nodeHash, NotFoundError, withContext } from "../base/mod.ts";
import { AT_FDCWD, type Fd, fstat, isErrno, openDir } from "../../ffi/mod.ts";
import { type Blob, checkBlobSize, digestHash, readRange } from "./blob.ts";
import { type Descriptor, documentType, MAX_DOCUMENT_SIZE } from "./documents.ts";
import { type LayoutStore, openBeneath } from "./layout.ts";
import { INDEX_TYPE } from "./media_types.ts";

const MANIFEST = "manifest.json";

class DirStore implements LayoutStore {
  readonly name: string;
  readonly index: Uint8Array;
  readonly #root: Fd;
  /** Digest of the file `manifest.json`. */
  readonly #manifest: string;

  constructor(path: string, root: Fd) {
    this.name = path;
    this.#root = root;
    const bytes = this.#readManifest();
    const hash = nodeHash.stream("sha256");
    hash.update(bytes);
    this.#manifest = Digest.sha256(hash.digest()).toString();
    const entry = {
      mediaType: documentType(bytes),
      digest: this.#manifest,
      size: bytes.length,
    };
    // What a layout has in a file: it leads to the one manifest, or the one index, that there is.
    const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [entry] };
    this.index = new TextEncoder().encode(JSON.stringify(index));
  }

  #readManifest(): Uint8Array<ArrayBuffer> {
    using fd = this.#open(MANIFEST, "image manifest");
    const { size, isFile } = fstat(fd);
    if (!isFile || size > MAX_DOCUMENT_SIZE) {
      throw new FormatError("image manifest", `${MANIFEST} of ${this.name} is no file or too big`);
    }
    return readRange({ fd, offset: 0, size }, MANIFEST);
  }

  blob(descriptor: Descriptor): Blob {
    const { digest } = descriptor;
    digestHash(digest);
    const fd = this.#openBlob(digest);
    try {
      const { size, isFile } = fstat(fd);
      if (!isFile) throw new FormatError("blob", `Blob ${digest} is no regular file`);
      checkBlobSize(descriptor, size);
      return { fd, offset: 0, size, [Symbol.dispose]: () => fd.close() };
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  #openBlob(digest: Digest): Fd {
    const what = `Blob ${digest}`;
    if (digest.toString() === this.#manifest) return this.#open(MANIFEST, what);
    try {
      return this.#open(digest.encoded, what);
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      // Manifests of the platforms of an index.
      return this.#open(`${digest.encoded}.manifest.json`, what);
    }
  }

  #open(file: string, what: string): Fd {
    try {
      return openBeneath(this.#root, file);
    } catch (cause) {
      if (!isErrno(cause, "ENOENT")) throw withContext(`Opening ${file} in ${this.name}`, cause);
      throw new NotFoundError("blob", file, { message: `${what} is not in ${this.name}`, cause });
    }
  }

  [Symbol.dispose](): void {
    this.#root.close();
  }
}

/** Opens a `dir:` directory. */
export function openDirStore(path: string): LayoutStore {
  let root: Fd;
  try {
    root = openDir(AT_FDCWD, path);
  } catch (cause) {
    throw withContext(`Opening directory ${path}`, cause);
  }
  try {
    return new DirStore(path, root);
  } catch (error) {
    root.close();
    throw error;
  }
}
