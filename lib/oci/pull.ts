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
import type { OpenStream, Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import { openArchive } from "./archive.ts";
import { readDocument } from "./blob.ts";
import { type Descriptor, type ImageConfig, parseConfig, type Platform } from "./documents.ts";
import { imageBytes, ImageTree, type LayerRef } from "./erofs_image.ts";
import {
  hasWholeLayer,
  imageRefName,
  isSplitTar,
  linkedImage,
  type OciImage,
  openManifest,
  recordReferrer,
} from "./image.ts";
import type { ImportedLayer } from "./layer_import.ts";
import { LayerPool } from "./layer_pool.ts";
import { type LayoutSource, openLayout } from "./layout.ts";
import {
  BOOT_IMAGE_REF,
  type Compression,
  DELTA_ARTIFACT_TYPES,
  isImageConfigType,
  tarCompression,
} from "./media_types.ts";
import { nativePlatform } from "./platform.ts";
import {
  type ImageReference,
  type LayoutReference,
  parseImageReference,
  parseLayoutReference,
} from "./reference.ts";
import { relinkDocuments, type StoredStream } from "./relink.ts";
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
  /**
   * Import layers that are there already once more and compare every object with what it should
   * be, which replaces damaged ones. @default false
   */
  repair?: boolean;
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
 * @param reference `oci:PATH` or `oci-archive:PATH`, with `:TAG`, `@DIGEST` or `:@POSITION`
 * @throws {InvalidNameError} for a bad tag or reference; nothing was read then
 * @throws {PolicyError} when the repository cannot be written to; nothing was read then
 * @throws {NotFoundError} when there is no such image, or none for the platform
 * @throws {DigestMismatchError} when the content is not what was announced; as a cause
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
    options.signal?.throwIfAborted();
    throw withContext(`Unable to pull container image ${reference}`, cause);
  }
}

interface OpenedSource extends Disposable {
  readonly source: LayoutSource;
  readonly select: LayoutReference["select"];
}

async function openSource(reference: string): Promise<OpenedSource> {
  const { transport, path, select } = parseSource(reference);
  let source: LayoutSource;
  if (transport === "oci") source = openLayout(path);
  else if (transport === "oci-archive") source = await openArchive(path);
  else throw new UnsupportedError(`Transport ${transport}: is not supported yet`);
  return { source, select, [Symbol.dispose]: () => source[Symbol.dispose]() };
}

function parseSource(reference: string): LayoutReference & Pick<ImageReference, "transport"> {
  try {
    const { transport, rest } = parseImageReference(reference);
    return { transport, ...parseLayoutReference(rest) };
  } catch (cause) {
    throw withContext("Parsing image reference transport", cause);
  }
}

/** Layers that are open at a time; a manifest can list more than there are descriptors. */
const MAX_OPEN = 256;

/** A layer as it is wanted: its identity and where it is. */
interface WantedLayer {
  readonly id: Digest;
  readonly descriptor: Descriptor;
  /** Packing that its media type announces; `undefined` for a blob that is not split. */
  readonly tar: Compression | undefined;
}

/** Whether what is stored under a layer's name is what is wanted. */
function standsFor(stream: OpenStream, layer: WantedLayer): boolean {
  const { id, descriptor, tar } = layer;
  const isArtifact = id === descriptor.digest;
  if (!isArtifact) return isSplitTar(stream);
  // The blob as it is serves every artifact; unpacked, it is only what a tar layer asks for.
  if (stream.contentType === CONTENT_TYPE.ociBlob || tar !== undefined) return true;
  return stream.streamSize === BigInt(descriptor.size);
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
    this.#options.signal?.throwIfAborted();
    const configBytes = readDocument(this.#source, manifest.config, "image config");
    const container = isImageConfigType(manifest.config.mediaType);
    const config = container ? parseConfig(configBytes) : undefined;
    const wanted = this.#wantedLayers(config);
    const present = this.#alreadyComplete(wanted, container);
    if (present !== undefined) {
      this.#recordSubject();
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
      const tar = tarCompression(descriptor.mediaType);
      if (config !== undefined && tar === undefined) {
        throw new FormatError(
          "image manifest",
          `Layer ${descriptor.digest} has media type ${descriptor.mediaType}, which is no tar layer`,
        );
      }
      return { id, descriptor, tar };
    });
  }

  /** Whether the image is there with all its layers and images, so that a tag is all it needs. */
  #alreadyComplete(
    wanted: WantedLayer[],
    container: boolean,
  ): { manifest: ObjectId; image: ObjectId | undefined } | undefined {
    if (this.#options.repair) return undefined;
    const repository = this.#repository;
    let image: OciImage;
    try {
      image = openManifest(repository, this.#selected.descriptor.digest);
      if (repository.streamObject(configStream(image.configDigest)) === undefined) return undefined;
      if (container && !this.#hasImages(image)) return undefined;
    } catch (error) {
      if (error instanceof ComposefsError) return undefined; // absent, or damaged and made anew
      throw error;
    }
    const isThere = repository.objects.snapshot();
    for (const layer of wanted) {
      const { id } = layer;
      const object = hasWholeLayer(repository, id, {
        accepts: (stream) => standsFor(stream, layer),
        isThere,
      });
      if (object === undefined || image.manifestStream.refs.get(id.toString()) !== object) {
        return undefined;
      }
    }
    this.#stats.layersPresent = new Set(wanted.map(({ id }) => id.toString())).size;
    for (const { id } of wanted) this.#progress({ type: "skipped", id: id.toString() });
    const manifest = image.manifestStream.stream;
    return { manifest, image: linkedImage(image.configStream.refs, repository.formats[0]!) };
  }

  /** Whether there is a sound image in every format; formats 0 and 1 share a reference. */
  #hasImages({ configStream }: OciImage): boolean {
    const repository = this.#repository;
    return repository.formats.every((version) => {
      const id = linkedImage(configStream.refs, version);
      return id !== undefined && repository.hasImage(id) &&
        repository.readImage(id).version === version;
    });
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
      if (objects.has(key) || missing.has(key)) continue;
      const present = this.#options.repair
        ? undefined
        : hasWholeLayer(repository, layer.id, { accepts: (stream) => standsFor(stream, layer) });
      if (present === undefined) missing.set(key, layer);
      else {
        objects.set(key, present);
        this.#stats.layersPresent++;
        this.#progress({ type: "skipped", id: key });
      }
    }
    arrived(objects);
    if (missing.size === 0) return;
    const { jobs, signal } = this.#options;
    const stop = new AbortController();
    await using pool = new LayerPool({
      progress: this.#progress,
      signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]),
      ...(jobs === undefined ? {} : { jobs }),
    });
    const queue = [...missing.values()].sort((a, b) => b.descriptor.size - a.descriptor.size);
    const failures: unknown[] = [];
    const lane = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        try {
          const imported = await this.#importLayer(pool, next);
          objects.set(next.id.toString(), imported.stream);
          arrived(objects);
        } catch (error) {
          // The others are of no use any more; what they say then is only that they were stopped.
          failures.push(pool.failure ?? error);
          queue.length = 0;
          stop.abort();
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(queue.length, MAX_OPEN) }, lane));
    if (failures.length > 0) throw failures[0];
  }

  async #importLayer(pool: LayerPool, layer: WantedLayer): Promise<ImportedLayer> {
    const { descriptor, id, tar } = layer;
    try {
      using blob = this.#source.blob(descriptor);
      const imported = await pool.import({
        blob: { fd: blob.fd.number, offset: blob.offset, size: blob.size },
        digest: descriptor.digest.toString(),
        tar,
        diffId: id === descriptor.digest ? undefined : id.toString(),
        objects: {
          dir: this.#repository.objects.makeDirectory().number,
          algorithm: this.#repository.algorithm,
          secure: this.#repository.secure,
          thorough: this.#options.repair ?? false,
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
    const streams: StoredStream[] = layers.map(({ id, object }) => ({
      name: layerStream(id),
      object,
    }));
    streams.push({ name: configStream(configDigest), object: config });
    streams.push({ name: manifestStream(descriptor.digest), object: manifestObject });
    streams.push(...this.#relink(streams));
    repository.sync();
    for (const id of content.images.values()) repository.linkImage(id);
    for (const { name, object } of streams) repository.linkStream(name, object);
    this.#recordSubject();
    tagImage(repository, descriptor.digest, this.#options.tag);
    return this.#result(manifestObject, content.images.get(repository.formats[0]!));
  }

  /** Other images share layers and configs with this one; they go along when those change. */
  #relink(streams: readonly StoredStream[]): StoredStream[] {
    const replaced = new Map<ObjectId, ObjectId>();
    for (const { name, object } of streams) {
      const before = this.#repository.streamObject(name);
      if (before !== undefined && before !== object) replaced.set(before, object);
    }
    const except = new Set(streams.map(({ name }) => name));
    return relinkDocuments(this.#repository, replaced, { except });
  }

  /** Makes the manifest known to the one that it is about. */
  #recordSubject(): void {
    const { descriptor, manifest } = this.#selected;
    if (!manifest.subject) return;
    recordReferrer(this.#repository, descriptor.digest, manifest.subject.digest);
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
    // Images before boot images, each in the order of their names (spec: oci 1.2).
    const rank = (name: string) => Number(name.startsWith(BOOT_IMAGE_REF));
    const order = [...kept.keys()].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
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
