/** Pushing into a `dir:` directory: one image, blobs named by their hex digest (spec: oci 5). */
import type { Digest } from "../base/mod.ts";
import { type Fd, syncfs } from "../../ffi/mod.ts";
import { isIntact, openMadeDirectory, placeFile, replaceFile } from "./blob_files.ts";
import {
  type BlobSlot,
  type ImageDestination,
  type PushedManifest,
  ScratchSlot,
} from "./destination.ts";
import type { Descriptor } from "./documents.ts";

const VERSION = "Directory Transport Version: 1.1\n";

class DirDestination implements ImageDestination {
  readonly name: string;
  readonly ordered = false;
  readonly remote = false;
  readonly #dir: Fd;

  constructor(path: string) {
    this.name = path;
    this.#dir = openMadeDirectory(path);
  }

  has(blob: Pick<Descriptor, "digest" | "size">): Promise<boolean> {
    return Promise.resolve(isIntact(this.#dir, blob.digest.encoded, blob));
  }

  reserve(): BlobSlot {
    return new ScratchSlot(this.name);
  }

  commit(slot: BlobSlot, blob: { digest: Digest; size: number }): Promise<void> {
    placeFile(slot.fd, this.#dir, blob.digest.encoded);
    return Promise.resolve();
  }

  document(bytes: Uint8Array, digest: Digest): Promise<void> {
    replaceFile(this.#dir, digest.encoded, bytes);
    return Promise.resolve();
  }

  /** Lies beside the others: there is no index, so whoever wants it has to know its digest. */
  attach(manifest: PushedManifest): Promise<void> {
    const name = `${manifest.descriptor.digest.encoded}.manifest.json`;
    replaceFile(this.#dir, name, manifest.bytes);
    return Promise.resolve();
  }

  finish(manifest: PushedManifest): Promise<void> {
    replaceFile(this.#dir, "version", new TextEncoder().encode(VERSION));
    syncfs(this.#dir);
    replaceFile(this.#dir, "manifest.json", manifest.bytes);
    syncfs(this.#dir);
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#dir.close();
    return Promise.resolve();
  }
}

/** Opens a directory to push to; it is made when it is missing. */
export function openDirDestination(path: string): ImageDestination {
  return new DirDestination(path);
}
