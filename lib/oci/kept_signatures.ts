/** Keeping the signatures of a pulled image with it, so that they can be checked again. */
import type { Digest, ObjectId } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import type { AttachedManifest, AttachmentSource } from "../trust/mod.ts";
import { checkDocumentSize, isSignatureLayer, parseManifest } from "../transport/mod.ts";
import { recordReferrer } from "./image.ts";
import { registerImage } from "./register.ts";
import { manifestStream } from "./tags.ts";

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

  /**
   * Stores the signatures that were seen as artifacts that refer to an image.
   *
   * @param subject the image's manifest, which is stored
   * @throws {ComposefsError} when one cannot be fetched any more
   */
  async keep(repository: Repository, subject: Digest): Promise<void> {
    for (const manifest of this.#seen.values()) await this.#keep(repository, subject, manifest);
  }

  async #keep(repository: Repository, subject: Digest, attached: AttachedManifest): Promise<void> {
    const { digest, mediaType } = attached;
    const bytes = Uint8Array.from(attached.bytes);
    const manifest = parseManifest(bytes);
    if (!manifest.layers.some((layer) => isSignatureLayer(layer.mediaType))) return;
    if (repository.streamObject(manifestStream(digest)) === undefined) {
      checkDocumentSize(manifest.config, "signature config");
      const configBytes = await this.#source.blob(manifest.config);
      const layers = [];
      for (const layer of manifest.layers) {
        checkDocumentSize(layer, "signature");
        const object = storeBlob(repository, await this.#source.blob(layer));
        layers.push({ id: layer.digest, object });
      }
      const descriptor = { mediaType, digest, size: bytes.length };
      const selected = { descriptor, bytes, manifest };
      registerImage(repository, { selected, configBytes, layers, images: new Map() });
    }
    recordReferrer(repository, digest, subject);
  }
}

/** A blob as it is, in a stream of its own. */
function storeBlob(repository: Repository, bytes: Uint8Array): ObjectId {
  const { id, size } = repository.objects.write(bytes);
  using writer = repository.newStream(CONTENT_TYPE.ociBlob);
  writer.addExternal(id, size);
  return repository.objects.write(writer.finish()).id;
}
