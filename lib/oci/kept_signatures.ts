/** Keeping the signatures of a pulled image with it, so that they can be checked again. */
import { ComposefsError, type Digest, type ObjectId } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
// Its values are imported when they are needed: most pulls need none.
import type { AttachedManifest, AttachmentSource } from "../trust/mod.ts";
import { type Descriptor, isSignatureLayer, parseManifest } from "../transport/mod.ts";
import { recordReferrer } from "./image.ts";
import { registerImage, type StoredImage } from "./register.ts";
import { layerStream, manifestStream } from "./tags.ts";

/** Attachments that remember which manifests were read. */
export class SeenAttachments implements AttachmentSource {
  readonly #source: AttachmentSource;
  readonly #seen = new Map<string, AttachedManifest>();

  /** Passes everything on to `source`. */
  constructor(source: AttachmentSource) {
    this.#source = source;
  }

  get name(): string {
    return this.#source.name;
  }

  async tagged(tag: string): Promise<AttachedManifest | undefined> {
    const manifest = await this.#source.tagged(tag);
    if (manifest !== undefined) this.#seen.set(manifest.digest.toString(), manifest);
    return manifest;
  }

  referrers(subject: Digest): ReturnType<AttachmentSource["referrers"]> {
    return this.#source.referrers(subject);
  }

  async manifest(
    entry: Parameters<AttachmentSource["manifest"]>[0],
  ): Promise<AttachedManifest> {
    const manifest = await this.#source.manifest(entry);
    this.#seen.set(manifest.digest.toString(), manifest);
    return manifest;
  }

  blob(descriptor: { readonly digest: Digest; readonly size: number }): Promise<Uint8Array> {
    return this.#source.blob(descriptor);
  }

  /** The manifests that were read so far. */
  get seen(): readonly AttachedManifest[] {
    return [...this.#seen.values()];
  }

  /**
   * Stores the signatures that were seen as artifacts that refer to an image. What cannot be read
   * is left out: it counted for nothing, and anybody can put it beside the image.
   *
   * @param subject the image's manifest, which is stored
   * @param options.warn told what was left out, and why
   */
  async keep(
    repository: Repository,
    subject: Digest,
    options: { warn?: ((text: string) => void) | undefined } = {},
  ): Promise<void> {
    for (const [digest, attached] of this.#seen) {
      let signature: ReadSignature | undefined;
      try {
        signature = await this.#read(repository, attached);
      } catch (error) {
        if (!(error instanceof ComposefsError)) throw error;
        options.warn?.(`signature ${digest} is not kept: ${error.message}`);
        continue;
      }
      if (signature === undefined) continue;
      store(repository, signature);
      recordReferrer(repository, attached.digest, subject);
    }
  }

  /** What is to be stored of a manifest that was seen; `undefined` when it has no signatures. */
  async #read(
    repository: Repository,
    attached: AttachedManifest,
  ): Promise<ReadSignature | undefined> {
    const { digest, mediaType } = attached;
    const bytes = Uint8Array.from(attached.bytes);
    const manifest = parseManifest(bytes);
    if (!manifest.layers.some((layer) => isSignatureLayer(layer.mediaType))) return undefined;
    const selected = { descriptor: { mediaType, digest, size: bytes.length }, bytes, manifest };
    if (repository.streamObject(manifestStream(digest)) !== undefined) return { selected };
    const { SignatureBudget } = await import("../trust/mod.ts");
    const budget = new SignatureBudget();
    const read = async (descriptor: Descriptor, what: string) => {
      budget.take(descriptor.size, what);
      return await this.#source.blob(descriptor);
    };
    const config = await read(manifest.config, "signature config");
    const layers = new Map<Digest, Uint8Array>();
    for (const layer of manifest.layers) {
      layers.set(layer.digest, await read(layer, "signature"));
    }
    return { selected, contents: { config, layers } };
  }
}

/** A manifest of signatures, verified. */
interface ReadSignature {
  readonly selected: StoredImage["selected"];
  /** What it refers to; `undefined` when it is stored already. */
  readonly contents?: {
    readonly config: Uint8Array;
    readonly layers: ReadonlyMap<Digest, Uint8Array>;
  };
}

function store(repository: Repository, { selected, contents }: ReadSignature): void {
  if (contents === undefined) return;
  const layers = Array.from(contents.layers, ([id, bytes]) => ({
    id,
    // Something that is there has its name for others, too: an image's layer stays what it is.
    object: repository.streamObject(layerStream(id)) ?? storeBlob(repository, bytes),
  }));
  registerImage(repository, {
    selected,
    configBytes: contents.config,
    layers,
    images: new Map(),
  });
}

/** A blob as it is, in a stream of its own. */
function storeBlob(repository: Repository, bytes: Uint8Array): ObjectId {
  const { id, size } = repository.objects.write(bytes);
  using writer = repository.newStream(CONTENT_TYPE.ociBlob);
  writer.addExternal(id, size);
  return repository.objects.write(writer.finish()).id;
}
