/** The images that a delta is made between: from a source, or from the repository. */
import { InvalidNameError, type Pool, UnsupportedError, withContext } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { AttachmentSource } from "../trust/mod.ts";
import {
  type Descriptor,
  type ImageConfig,
  type ImageSource,
  isImageConfigType,
  isTransportReference,
  type Manifest,
  MANIFEST_TYPE,
  nativePlatform,
  openScratch,
  openSource,
  parseConfig,
  type Platform,
  type SelectedManifest,
  type SourceOptions,
  temporaryDirectory,
} from "../transport/mod.ts";
import type { ScanTask } from "./delta_scan.ts";
import { layerObject, openImageRef } from "./image.ts";
import type { PackTask } from "./pack.ts";
import { storedAttachments } from "./stored_attachments.ts";

/** A layer that can be scanned; its descriptor stays open until the image is disposed of. */
export interface DeltaLayer extends Pick<ScanTask, "blob" | "arrived" | "digest"> {
  /** Whether the blob is the one that the manifest names. */
  readonly original: boolean;
}

/** An image with its verified documents. */
export interface DeltaImage extends AsyncDisposable {
  /** Descriptor of the manifest. */
  readonly descriptor: Pick<Descriptor, "mediaType" | "digest" | "size">;
  /** Bytes of the manifest. */
  readonly manifestBytes: Uint8Array;
  /** The manifest. */
  readonly manifest: Manifest;
  /** Bytes of the config. */
  readonly configBytes: Uint8Array;
  /** The config. */
  readonly config: ImageConfig;
  /** Opens a layer by its number. */
  layer(number: number): Promise<DeltaLayer>;
  /** Where signatures of the image are; `undefined` where there can be none. */
  attachments(): Promise<AttachmentSource | undefined>;
}

/** How images are opened. */
export interface DeltaImageOptions extends SourceOptions {
  /** Opens the repository when an image is in it. */
  readonly openRepository?: (() => Repository) | undefined;
  /** Platform to choose from an index. @default the one this program runs on */
  readonly platform?: Platform | undefined;
  /** Workers that know `unpack-stored`. */
  readonly pool: Pool;
}

/**
 * Opens an image.
 *
 * @param reference with a transport for a source, else a tag or digest of the repository
 * @throws {UnsupportedError} for what is no container image
 */
export async function openDeltaImage(
  reference: string,
  options: DeltaImageOptions,
): Promise<DeltaImage> {
  if (!isTransportReference(reference)) {
    if (options.openRepository === undefined) {
      throw new InvalidNameError(`${reference} has no transport, and there is no repository`);
    }
    return new StoredImage(reference, options.openRepository(), options.pool);
  }
  const source = await openSource(reference, options);
  try {
    const selected = await source.resolve({ platform: options.platform ?? nativePlatform() });
    checkKind(reference, selected.manifest);
    const configBytes = await source.document(selected.manifest.config, "image config");
    return new SourceImage(source, { selected, configBytes, signal: options.signal });
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

function checkKind(reference: string, manifest: Manifest): void {
  if (isImageConfigType(manifest.config.mediaType)) return;
  throw new UnsupportedError(`${reference} is an artifact, not a container image`);
}

class SourceImage implements DeltaImage {
  readonly descriptor: DeltaImage["descriptor"];
  readonly manifestBytes: Uint8Array;
  readonly manifest: Manifest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  readonly #source: ImageSource;
  readonly #signal: AbortSignal | undefined;
  readonly #converted: boolean;
  readonly #blobs = new DisposableStack();

  constructor(
    source: ImageSource,
    image: {
      selected: SelectedManifest;
      configBytes: Uint8Array;
      signal: AbortSignal | undefined;
    },
  ) {
    this.#source = source;
    this.#signal = image.signal;
    this.#converted = image.selected.original !== undefined;
    const { descriptor, bytes, manifest } = image.selected;
    this.descriptor = descriptor;
    this.manifestBytes = bytes;
    this.manifest = manifest;
    this.configBytes = image.configBytes;
    this.config = parseConfig(image.configBytes);
  }

  async layer(number: number): Promise<DeltaLayer> {
    const descriptor = this.manifest.layers[number]!;
    const blob = this.#blobs.use(await this.#source.blob(descriptor, { signal: this.#signal }));
    return {
      blob: { fd: blob.fd.number, offset: blob.offset, size: blob.size },
      arrived: blob.arrival?.memory,
      digest: descriptor.digest.toString(),
      original: true,
    };
  }

  async attachments(): Promise<AttachmentSource | undefined> {
    // What was signed is the manifest as it was before it was converted.
    if (this.#converted) return undefined;
    return (await this.#source.signaturePlaces?.())?.attachments;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#blobs.dispose();
    await this.#source[Symbol.asyncDispose]();
  }
}

/** An image whose layers are put together again from the repository's objects. */
class StoredImage implements DeltaImage {
  readonly descriptor: DeltaImage["descriptor"];
  readonly manifestBytes: Uint8Array;
  readonly manifest: Manifest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  readonly #layers: readonly Omit<PackTask, "output">[];
  readonly #repository: Repository;
  readonly #pool: Pool;
  readonly #files = new DisposableStack();

  constructor(reference: string, repository: Repository, pool: Pool) {
    const image = openImageRef(repository, reference);
    checkKind(reference, image.manifest);
    this.#repository = repository;
    this.#pool = pool;
    this.manifestBytes = image.manifestStream.bytes;
    this.manifest = image.manifest;
    this.configBytes = image.configStream.bytes;
    this.config = image.config!;
    this.descriptor = {
      mediaType: image.manifest.mediaType ?? MANIFEST_TYPE,
      digest: image.manifestDigest,
      size: this.manifestBytes.length,
    };
    const { algorithm, secure, directory } = repository;
    this.#layers = image.layerIds.map((id) => ({
      store: { root: directory.number, algorithm, secure },
      stream: layerObject(image, id),
      content: id.toString(),
      packing: { compression: "none", level: undefined },
    }));
  }

  async layer(number: number): Promise<DeltaLayer> {
    const task = this.#layers[number]!;
    const fd = this.#files.use(openScratch(temporaryDirectory()));
    try {
      const output = { fd: fd.number, offset: 0 };
      const { size } = await this.#pool.run<{ size: number }>("unpack-stored", { ...task, output });
      return { blob: { ...output, size }, digest: undefined, original: false };
    } catch (cause) {
      throw withContext(`Reading layer ${task.content}`, cause);
    }
  }

  attachments(): Promise<AttachmentSource> {
    return Promise.resolve(storedAttachments(this.#repository));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#files.dispose();
    return Promise.resolve();
  }
}
