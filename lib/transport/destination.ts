/** Where images are pushed to (spec: oci 5, 6). */
import type { Digest } from "../base/mod.ts";
import type { Fd } from "../../ffi/mod.ts";
import type { Descriptor } from "./documents.ts";
import { openScratch } from "./scratch.ts";

/** A place that a worker writes a blob to before its digest is known. */
export interface BlobSlot extends Disposable {
  /** Open file. */
  readonly fd: Fd;
  /** Where the blob starts in it, in bytes. */
  readonly offset: number;
}

/** A manifest that makes what was pushed an image. */
export interface PushedManifest {
  /** Media type, digest and size. */
  readonly descriptor: Pick<Descriptor, "mediaType" | "digest" | "size">;
  /** Its exact bytes. */
  readonly bytes: Uint8Array;
  /** Type of artifact, for indexes. */
  readonly artifactType?: string | undefined;
  /** Manifest that it is about, when it is about one. */
  readonly subject?: Digest | undefined;
  /** Tag by which it is found, when it does not say what it is about. */
  readonly tag?: string | undefined;
}

/** What images are pushed to. Blobs come first, manifests last; nothing is visible before. */
export interface ImageDestination extends AsyncDisposable {
  /** What the destination is called in messages. */
  readonly name: string;
  /** Whether blobs have to be committed in order for the result to be the same each time. */
  readonly ordered: boolean;
  /** Whether blobs go over a network, so that packing the next one is worth it meanwhile. */
  readonly remote: boolean;
  /** Whether a blob is there already, or can be had from where it is by no more than a request. */
  has(descriptor: Pick<Descriptor, "digest" | "size">): Promise<boolean>;
  /** Told of all blobs whose size is known beforehand, in order, before the first is reserved. */
  expect?(known: readonly { digest: Digest; size: number }[]): void;
  /**
   * Where to put a blob.
   *
   * @param known digest and size in bytes, when they are known beforehand
   */
  reserve(known?: { digest: Digest; size: number }): BlobSlot;
  /** Takes a slot whose content is complete; the slot is still the caller's to dispose of. */
  commit(slot: BlobSlot, blob: { digest: Digest; size: number }): Promise<void>;
  /** Stores a small blob, such as a config. */
  document(bytes: Uint8Array, digest: Digest): Promise<void>;
  /** Adds a manifest that others refer to or that refers to the image: it gets no tag. */
  attach(manifest: PushedManifest): Promise<void>;
  /** Makes everything visible: the image's manifest and its tag. */
  finish(manifest: PushedManifest): Promise<void>;
}

/** Where in the file system a layout or archive is to be. */
export interface LayoutTarget {
  /** Path of the layout or archive. */
  readonly path: string;
  /** Tag to give. */
  readonly tag: string | undefined;
}

/** A slot that is a whole unnamed file. */
export class ScratchSlot implements BlobSlot {
  readonly fd: Fd;
  readonly offset = 0;

  /** Opens the file in a directory. */
  constructor(dir: string) {
    this.fd = openScratch(dir);
  }

  /** Closes the file, which is gone then unless it got a name. */
  [Symbol.dispose](): void {
    this.fd.close();
  }
}
