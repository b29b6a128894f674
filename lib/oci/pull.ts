/** Pulling images from local sources into a repository (spec: oci 1.4, 2.5). */
import {
  ComposefsError,
  type Digest,
  FormatError,
  type ObjectId,
  type ProgressSink,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import type { ErofsVersion } from "../erofs/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import { openArchive } from "./archive.ts";
import { checkBlobSize, readDocument } from "./blob.ts";
import { type Descriptor, type ImageConfig, parseConfig, type Platform } from "./documents.ts";
import { imageBytes, ImageTree, type LayerRef } from "./erofs_image.ts";
import { hasWholeLayer, imageRefName, openManifest, recordReferrer } from "./image.ts";
import type { ImportedLayer } from "./layer_import.ts";
import { LayerPool } from "./layer_pool.ts";
import { type LayoutSource, openLayout } from "./layout.ts";
import { DELTA_ARTIFACT_TYPES, isImageConfigType, tarCompression } from "./media_types.ts";
import { nativePlatform } from "./platform.ts";
import { parseImageReference, parseLayoutReference } from "./reference.ts";
import { type SelectedManifest, selectManifest } from "./select.ts";
import { configStream, layerStream, manifestStream, tagImage, tagRef } from "./tags.ts";

/** How to pull. */
export interface PullOptions {
  /** Tag to make. @default the image reference as given */
  name?: string;
  /** Platform to choose from an index. @default the one this program runs on */
  platform?: Platform;
  /** Workers. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is, per layer, and about warnings. */
  progress?: ProgressSink;
}

/** What a pull came to. */
export interface PullResult {
  /** Digest of the manifest. */
  readonly manifestDigest: Digest;
  /** Digest of the config. */
  readonly configDigest: Digest;
  /** Object id of the manifest's stream, the one its name leads to. */
  readonly manifestStream: ObjectId;
  /** The tag that was made. */
  readonly tag: string;
  /** Id of the image in the repository's default format; `undefined` for artifacts. */
  readonly image: ObjectId | undefined;
  /** Counters over all layers that were imported. */
  readonly stats: PullStats;
}

/** Counters of a pull. */
export interface PullStats {
  /** Layers that were there already. */
  layersPresent: number;
  /** Objects that were made. */
  objectsNew: number;
  /** Files whose object was there already. */
  objectsPresent: number;
  /** Bytes of the new objects. */
  bytesStored: number;
  /** Bytes kept in splitstreams. */
  bytesInlined: number;
}

/**
 * Pulls an image: every digest is checked before anything gets a name; objects are durable before
 * names are made; the tag comes last.
 *
 * @param reference `oci:PATH[:TAG]` or `oci-archive:PATH[:TAG]`
 */
export async function pullImage(
  repository: Repository,
  reference: string,
  options: PullOptions = {},
): Promise<PullResult> {
  const tag = options.name ?? reference;
  tagRef(tag);
  repository.assertWritable();
  using opened = await openSource(reference);
  const { source } = opened;
  try {
    const selected = selectManifest(source, {
      select: opened.select,
      platform: options.platform ?? nativePlatform(),
    });
    if (DELTA_ARTIFACT_TYPES.includes(selected.manifest.artifactType ?? "")) {
      throw new UnsupportedError(`${reference} is a delta artifact; it cannot be applied yet`);
    }
    return await new Pull(repository, source, selected, { ...options, tag }).run();
  } catch (cause) {
    throw withContext(`Unable to pull container image ${reference}`, cause);
  }
}

interface OpenedSource extends Disposable {
  readonly source: LayoutSource;
  readonly select: ReturnType<typeof parseLayoutReference>["select"];
}

async function openSource(reference: string): Promise<OpenedSource> {
  const { transport, rest } = parseImageReference(reference);
  const { path, select } = parseLayoutReference(rest);
  let source: LayoutSource;
  if (transport === "oci") source = openLayout(path);
  else if (transport === "oci-archive") source = await openArchive(path);
  else throw new UnsupportedError(`Transport ${transport}: is not supported yet`);
  return { source, select, [Symbol.dispose]: () => source[Symbol.dispose]() };
}

/** A layer as it is wanted: its identity and where it is. */
interface WantedLayer {
  readonly id: Digest;
  readonly descriptor: Descriptor;
}

/** One pull. */
class Pull {
  readonly #repository: Repository;
  readonly #source: LayoutSource;
  readonly #selected: SelectedManifest;
  readonly #options: PullOptions & { tag: string };
  readonly #progress: ProgressSink;
  readonly #stats: PullStats = {
    layersPresent: 0,
    objectsNew: 0,
    objectsPresent: 0,
    bytesStored: 0,
    bytesInlined: 0,
  };

  constructor(
    repository: Repository,
    source: LayoutSource,
    selected: SelectedManifest,
    options: PullOptions & { tag: string },
  ) {
    this.#repository = repository;
    this.#source = source;
    this.#selected = selected;
    this.#options = options;
    this.#progress = options.progress ?? (() => {});
  }

  async run(): Promise<PullResult> {
    const { manifest, descriptor } = this.#selected;
    const configBytes = readDocument(this.#source, manifest.config, "image config");
    const container = isImageConfigType(manifest.config.mediaType);
    const config = container ? parseConfig(configBytes) : undefined;
    const wanted = this.#wantedLayers(config);
    const present = this.#alreadyComplete(wanted, container);
    if (present !== undefined) {
      tagImage(this.#repository, descriptor.digest, this.#options.tag);
      this.#repository.sync();
      return this.#result(present.manifest, present.image);
    }
    const warn = (text: string) => this.#progress({ type: "warning", text });
    const tree = container ? new ImageTree(this.#repository, { warn }) : undefined;
    const layers: LayerRef[] = [];
    // Each layer joins the tree as soon as those below it have, while others are still unpacked.
    await this.#importLayers(wanted, (objects) => {
      for (let next = wanted[layers.length]; next !== undefined; next = wanted[layers.length]) {
        const object = objects.get(next.id.toString());
        if (object === undefined) return;
        const layer = { id: next.id, object };
        layers.push(layer);
        tree?.add(layer);
      }
    });
    const images = this.#storeImages(tree);
    // Everything is stored; what follows only makes names, after one sync for all of it.
    return this.#register(layers, { configBytes, images });
  }

  #wantedLayers(config: ImageConfig | undefined): WantedLayer[] {
    const { manifest } = this.#selected;
    if (config !== undefined && config.diffIds.length !== manifest.layers.length) {
      throw new FormatError(
        "image config",
        `expected ${manifest.layers.length} layer refs but got ${config.diffIds.length}`,
      );
    }
    return manifest.layers.map((descriptor, i) => {
      const id = config === undefined ? descriptor.digest : config.diffIds[i]!;
      if (config !== undefined && tarCompression(descriptor.mediaType) === undefined) {
        throw new FormatError(
          "image manifest",
          `Layer ${descriptor.digest} has media type ${descriptor.mediaType}, which is no tar layer`,
        );
      }
      return { id, descriptor };
    });
  }

  /** Whether the image is there with all its layers and images, so that a tag is all it needs. */
  #alreadyComplete(
    wanted: WantedLayer[],
    container: boolean,
  ): { manifest: ObjectId; image: ObjectId | undefined } | undefined {
    const repository = this.#repository;
    const { digest } = this.#selected.descriptor;
    const manifest = repository.streamObject(manifestStream(digest));
    if (manifest === undefined) return undefined;
    let refs;
    try {
      refs = openManifest(repository, digest);
    } catch {
      return undefined; // damaged: it is written again
    }
    for (const { id } of wanted) {
      const object = hasWholeLayer(repository, id);
      if (object === undefined || refs.manifestStream.refs.get(id.toString()) !== object) {
        return undefined;
      }
    }
    if (container) {
      for (const version of repository.formats) {
        const image = refs.configStream.refs.get(imageRefName(version));
        if (image === undefined || !repository.hasImage(image)) return undefined;
      }
    }
    this.#stats.layersPresent = wanted.length;
    for (const { id } of wanted) this.#progress({ type: "skipped", id: id.toString() });
    const image = container
      ? refs.configStream.refs.get(imageRefName(repository.formats[0]!))
      : undefined;
    return { manifest, image };
  }

  /**
   * Imports the layers that are missing.
   *
   * @param arrived called with the stream object of each layer so far, by identity
   */
  async #importLayers(
    wanted: WantedLayer[],
    arrived: (objects: ReadonlyMap<string, ObjectId>) => void,
  ): Promise<void> {
    const repository = this.#repository;
    const objects = new Map<string, ObjectId>();
    const missing = new Map<string, WantedLayer>();
    for (const layer of wanted) {
      const key = layer.id.toString();
      const present = objects.get(key) ?? hasWholeLayer(repository, layer.id);
      if (present === undefined) missing.set(key, layer);
      else if (!objects.has(key)) {
        objects.set(key, present);
        this.#stats.layersPresent++;
        this.#progress({ type: "skipped", id: key });
      }
    }
    arrived(objects);
    if (missing.size === 0) return;
    const { jobs, signal } = this.#options;
    await using pool = new LayerPool({
      progress: this.#progress,
      ...(jobs === undefined ? {} : { jobs }),
      ...(signal === undefined ? {} : { signal }),
    });
    pool.warm();
    const order = [...missing.values()].sort((a, b) => b.descriptor.size - a.descriptor.size);
    const results = await Promise.allSettled(order.map(async (layer) => {
      const imported = await this.#importLayer(pool, layer);
      objects.set(layer.id.toString(), imported.stream);
      arrived(objects);
    }));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw pool.failure ?? failed.reason;
  }

  async #importLayer(pool: LayerPool, layer: WantedLayer): Promise<ImportedLayer> {
    const { descriptor, id } = layer;
    try {
      const blob = this.#source.blob(descriptor);
      checkBlobSize(descriptor, blob.size);
      const tar = tarCompression(descriptor.mediaType);
      const imported = await pool.import({
        blob: { fd: blob.fd.number, offset: blob.offset, size: blob.size },
        digest: descriptor.digest.toString(),
        tar,
        diffId: id === descriptor.digest ? undefined : id.toString(),
        objects: {
          dir: this.#repository.objects.makeDirectory().number,
          algorithm: this.#repository.algorithm,
          secure: this.#repository.secure,
        },
      }, id.toString());
      const { stats } = imported;
      this.#stats.objectsNew += stats.created;
      this.#stats.objectsPresent += stats.objects - stats.created;
      this.#stats.bytesStored += stats.createdBytes;
      this.#stats.bytesInlined += stats.inlineBytes;
      for (const text of imported.warnings) this.#progress({ type: "warning", text });
      return imported;
    } catch (cause) {
      throw withContext(`Importing layer ${id}`, cause);
    }
  }

  /** Writes and stores the images of a container; they get no names yet. */
  #storeImages(tree: ImageTree | undefined): Map<ErofsVersion, ObjectId> {
    const images = new Map<ErofsVersion, ObjectId>();
    if (tree === undefined) return images;
    const files = tree.finish();
    for (const version of this.#repository.formats) {
      const bytes = imageBytes(this.#repository, files, version);
      images.set(version, this.#repository.objects.write(bytes).id);
    }
    return images;
  }

  #register(
    layers: readonly LayerRef[],
    content: { configBytes: Uint8Array; images: ReadonlyMap<ErofsVersion, ObjectId> },
  ): PullResult {
    const repository = this.#repository;
    const { descriptor, bytes, manifest } = this.#selected;
    const configDigest = manifest.config.digest;
    const config = this.#configObject(layers, { ...content, digest: configDigest });
    using writer = repository.newStream(CONTENT_TYPE.ociManifest);
    addDocument(repository, writer, bytes);
    writer.addNamedRef(`config:${configDigest}`, config);
    for (const { id, object } of layers) writer.addNamedRef(id.toString(), object);
    const manifestObject = repository.objects.write(writer.finish()).id;
    repository.sync();
    for (const id of content.images.values()) repository.linkImage(id);
    for (const { id, object } of layers) repository.linkStream(layerStream(id), object);
    repository.linkStream(configStream(configDigest), config);
    repository.linkStream(manifestStream(descriptor.digest), manifestObject);
    if (manifest.subject) recordReferrer(repository, descriptor.digest, manifest.subject.digest);
    tagImage(repository, descriptor.digest, this.#options.tag);
    return this.#result(manifestObject, content.images.get(repository.formats[0]!));
  }

  /** Stores the config with its references: layers, images, and images it had in other formats. */
  #configObject(
    layers: readonly LayerRef[],
    content: {
      digest: Digest;
      configBytes: Uint8Array;
      images: ReadonlyMap<ErofsVersion, ObjectId>;
    },
  ): ObjectId {
    const repository = this.#repository;
    const existing = this.#existingConfigRefs(content.digest);
    using writer = repository.newStream(CONTENT_TYPE.ociConfig);
    addDocument(repository, writer, content.configBytes);
    for (const { id, object } of layers) writer.addNamedRef(id.toString(), object);
    const named = new Set(layers.map(({ id }) => id.toString()));
    // Artifacts share the empty config, so what others need stays; so do images of other formats.
    const kept = new Map<string, ObjectId>();
    for (const [name, object] of existing) {
      if (!named.has(name) && repository.objects.size(object) !== undefined) kept.set(name, object);
    }
    for (const [version, id] of content.images) kept.set(imageRefName(version), id);
    const order = [...kept.keys()].sort();
    for (const name of order) writer.addNamedRef(name, kept.get(name)!);
    return repository.objects.write(writer.finish()).id;
  }

  #existingConfigRefs(digest: Digest): ReadonlyMap<string, ObjectId> {
    try {
      const contentType = CONTENT_TYPE.ociConfig;
      return this.#repository.openStream(configStream(digest), { contentType }).namedRefs;
    } catch (error) {
      if (error instanceof ComposefsError) return new Map(); // absent, or damaged and written anew
      throw error;
    }
  }

  #result(manifest: ObjectId, image: ObjectId | undefined): PullResult {
    return {
      manifestDigest: this.#selected.descriptor.digest,
      configDigest: this.#selected.manifest.config.digest,
      manifestStream: manifest,
      tag: this.#options.tag,
      image,
      stats: this.#stats,
    };
  }
}

/** Documents are always one external object, whatever their size. */
function addDocument(
  repository: Repository,
  writer: ReturnType<Repository["newStream"]>,
  bytes: Uint8Array,
): void {
  const { id, size } = repository.objects.write(bytes);
  writer.addExternal(id, size);
}
