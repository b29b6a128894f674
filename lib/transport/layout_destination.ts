/** Pushing into an `oci:` layout (spec: oci 5.1). */
import type { Digest } from "../base/mod.ts";
import { type Fd, flock, statAt, syncfs } from "../../ffi/mod.ts";
import { digestHash } from "./blob.ts";
import {
  isIntact,
  openMadeDirectory,
  placeFile,
  readSmallFile,
  replaceFile,
} from "./blob_files.ts";
import {
  type BlobSlot,
  type ImageDestination,
  type LayoutTarget,
  type PushedManifest,
  ScratchSlot,
} from "./destination.ts";
import { type Descriptor, MAX_DOCUMENT_SIZE } from "./documents.ts";
import { IndexEntries, LAYOUT_FILE } from "./index_entries.ts";

class LayoutDestination implements ImageDestination {
  readonly name: string;
  readonly ordered = false;
  readonly remote = false;
  readonly #target: LayoutTarget;
  readonly #root: Fd;
  /** Directories of blobs by the algorithm of their digests. */
  readonly #blobs = new Map<string, Fd>();
  readonly #attached: PushedManifest[] = [];

  constructor(target: LayoutTarget) {
    this.name = target.path;
    this.#target = target;
    this.#root = openMadeDirectory(target.path);
    try {
      this.#directory("sha256");
      if (statAt(this.#root, "blobs/sha512") !== undefined) this.#directory("sha512");
      // An index that nobody could add to is met before all the work, not after it.
      this.#index();
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** The directory of blobs with digests of this kind; it is made when it is missing. */
  #directory(algorithm: string): Fd {
    let directory = this.#blobs.get(algorithm);
    if (directory === undefined) {
      directory = openMadeDirectory(`${this.#target.path}/blobs/${algorithm}`);
      this.#blobs.set(algorithm, directory);
    }
    return directory;
  }

  #close(): void {
    for (const directory of this.#blobs.values()) directory.close();
    this.#blobs.clear();
    this.#root.close();
  }

  #index(): IndexEntries {
    return new IndexEntries(readSmallFile(this.#root, "index.json", MAX_DOCUMENT_SIZE + 1));
  }

  has(blob: Pick<Descriptor, "digest" | "size">): Promise<boolean> {
    const { algorithm, encoded } = blob.digest;
    const ours = algorithm === "sha256" || algorithm === "sha512";
    const path = `blobs/${algorithm}/${encoded}`;
    return Promise.resolve(ours && isIntact(this.#root, path, blob));
  }

  reserve(): BlobSlot {
    return new ScratchSlot(`${this.#target.path}/blobs/sha256`);
  }

  commit(slot: BlobSlot, blob: { digest: Digest; size: number }): Promise<void> {
    const { encoded } = blob.digest;
    const directory = this.#directory(digestHash(blob.digest));
    if (!isIntact(directory, encoded, blob)) placeFile(slot.fd, directory, encoded);
    return Promise.resolve();
  }

  document(bytes: Uint8Array, digest: Digest): Promise<void> {
    const blob = { digest, size: bytes.length };
    const directory = this.#directory(digestHash(digest));
    if (!isIntact(directory, digest.encoded, blob)) replaceFile(directory, digest.encoded, bytes);
    return Promise.resolve();
  }

  async attach(manifest: PushedManifest): Promise<void> {
    const { bytes, tag, descriptor: { digest } } = manifest;
    if (tag !== undefined) this.#index().assertFree(tag, digest);
    await this.document(bytes, digest);
    this.#attached.push(manifest);
  }

  async finish(manifest: PushedManifest): Promise<void> {
    await this.document(manifest.bytes, manifest.descriptor.digest);
    if (statAt(this.#root, "oci-layout") === undefined) {
      replaceFile(this.#root, "oci-layout", new TextEncoder().encode(LAYOUT_FILE));
    }
    // Names of blobs first, then the one file that leads to them; others may be adding theirs.
    syncfs(this.#root);
    flock(this.#root, "exclusive");
    const index = this.#index();
    index.add(manifest, this.#target.tag);
    for (const attached of this.#attached) index.add(attached, attached.tag);
    replaceFile(this.#root, "index.json", index.bytes());
    syncfs(this.#root);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    return Promise.resolve();
  }
}

/** Opens a layout to push to; it is made when it is missing. */
export function openLayoutDestination(target: LayoutTarget): ImageDestination {
  return new LayoutDestination(target);
}
