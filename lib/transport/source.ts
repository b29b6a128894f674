/** Where images come from, whatever the transport (spec: oci 5). */
import type { Digest } from "../base/mod.ts";
import type { SignaturePlaces } from "../trust/mod.ts";
import type { Blob } from "./blob.ts";
import type { Descriptor, Manifest, Platform } from "./documents.ts";
import type { Transport } from "./reference.ts";

/** A verified document and how it was announced. */
export interface Document {
  /** Its descriptor. */
  readonly descriptor: Descriptor;
  /** Its exact bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A manifest that was chosen, its bytes verified. */
export interface SelectedManifest extends Document {
  /** The parsed document. */
  readonly manifest: Manifest;
  /** The index that the manifest was chosen from, when there is one. */
  readonly index?: Document | undefined;
  /** The manifest as the source has it, when it had to be converted (spec: oci 5.3). */
  readonly original?: Document | undefined;
}

/** A stretch of a blob in bytes. */
export interface ByteRange {
  /** Where it begins. */
  readonly offset: number;
  /** How long it is. */
  readonly size: number;
}

/** How a blob is opened. */
export interface BlobOptions {
  /** Gives up what is under way. */
  readonly signal?: AbortSignal | undefined;
}

/** Receives the bytes of ranges as they come: pieces of one range in order, then the next range. */
export type RangeSink = (range: ByteRange, piece: Uint8Array) => void;

/** An image reference that was opened: one image, or several for different platforms. */
export interface ImageSource extends AsyncDisposable {
  /** What the source is called in messages. */
  readonly name: string;
  /** How it is reached. */
  readonly transport: Transport;
  /** Whether blobs come over a network, so that they may arrive while they are read. */
  readonly remote: boolean;

  /**
   * Chooses the manifest and verifies it.
   *
   * @throws {NotFoundError} when there is no such image, or none for the platform
   * @throws {DigestMismatchError} when a document is not what was announced
   */
  resolve(options: { platform: Platform }): Promise<SelectedManifest>;

  /**
   * Reads and verifies a document of at most 4 MiB.
   *
   * @param what what messages call it
   */
  document(descriptor: Descriptor, what: string): Promise<Uint8Array<ArrayBuffer>>;

  /**
   * Opens a blob for reading by file descriptor; only its size is known to be right, and it may
   * still be arriving.
   *
   * @throws {NotFoundError} when the source does not have it
   * @throws {FormatError} when it has another size
   */
  blob(descriptor: Descriptor, options?: BlobOptions): Promise<Blob>;

  /** Bytes of a blob that an interrupted download has left, and that need not be fetched again. */
  held?(descriptor: Descriptor): number;

  /**
   * Reads parts of a blob; what comes is not verified.
   *
   * @param ranges in ascending order, not overlapping
   * @returns false when the source gives only whole blobs; `sink` was not called then
   */
  ranges?(
    descriptor: Descriptor,
    ranges: readonly ByteRange[],
    options: BlobOptions & { sink: RangeSink },
  ): Promise<boolean>;

  /**
   * Manifests whose subject is `digest`.
   *
   * @param artifactType only those of this type
   */
  referrers?(digest: Digest, artifactType?: string): Promise<Descriptor[]>;

  /** Where signatures of the image may be; asked only when a policy wants some. */
  signaturePlaces?(): Promise<SignaturePlaces>;
}
