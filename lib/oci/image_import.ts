/** Bringing an image into a repository, whatever its layers are made from (spec: oci 1.4, 2.5). */
import {
  FormatError,
  type ObjectId,
  PolicyError,
  type ProgressSink,
  withContext,
} from "../base/mod.ts";
import type { ErofsVersion } from "../erofs/mod.ts";
import { healingWrites, type ObjectDirectoryOptions, type Repository } from "../repository/mod.ts";
import type { FileTree } from "../tree/mod.ts";
import { buildTree, imageBytes, ImageTree, type LayerRef } from "./erofs_image.ts";
import type { Healing } from "./healing.ts";
import { layerObject, linkedImage } from "./image.ts";
import {
  completeImage,
  configOf,
  type ImageDocuments,
  missingLayers,
  wantedLayers,
} from "./image_layers.ts";
import { KeptLayers } from "./kept_layers.ts";
import { LayerPool } from "./layer_pool.ts";
import type { LayerSupply, SupplyContext, WantedLayer } from "./layer_supply.ts";
import { nameImage, registerImage } from "./register.ts";
import { judgeSeal } from "./seal.ts";

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

/** How an image is imported. */
export interface ImportOptions {
  /** Tag to make. @default none */
  readonly tag?: string | undefined;
  /** How missing layers are come by. */
  readonly supply: LayerSupply;
  /** Whether layers arrive over a network while they are imported. @default false */
  readonly remote?: boolean | undefined;
  /** Threads that work. @default navigator.hardwareConcurrency */
  readonly jobs?: number | undefined;
  /**
   * Import layers that are there already once more, which repairs them: all, or those with these
   * identities. @default false
   */
  readonly repair?: boolean | ReadonlySet<string> | undefined;
  /** What is damaged, of which layers are imported once more. @default nothing that is known */
  readonly healing?: Healing | undefined;
  /** Put back zeros at the end of layers that a faulty encoder has dropped. @default false */
  readonly repairPadding?: boolean | undefined;
  /** Refuse an image that is not what it claims to be, or claims nothing. @default false */
  readonly requireSeal?: boolean | undefined;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Told how far it is, per layer, and about warnings. */
  readonly progress?: ProgressSink | undefined;
}

/** What an import came to. */
export interface ImportedImage {
  /** Object id of the manifest's stream. */
  readonly manifestStream: ObjectId;
  /** Id of the image in the repository's default format; `undefined` for artifacts. */
  readonly image: ObjectId | undefined;
  /** Counters over all layers that were imported. */
  readonly stats: PullStats;
}

/** Layers that are open at a time; a manifest can list more than there are descriptors. */
const MAX_OPEN = 256;

/**
 * Imports an image: missing layers are supplied and checked, the tree and its images are made, and
 * only when everything is stored does it get names, the tag last.
 *
 * @throws {DigestMismatchError} when the content is not what was announced; as a cause
 */
export function importImage(
  repository: Repository,
  documents: ImageDocuments,
  options: ImportOptions,
): Promise<ImportedImage> {
  return new ImageImport(repository, documents, options).run();
}

/** An image that is there already. */
interface PresentImage extends Omit<ImportedImage, "stats"> {
  readonly images: ReadonlyMap<ErofsVersion, ObjectId>;
  readonly layers: readonly LayerRef[];
}

/** One import. */
class ImageImport {
  readonly #repository: Repository;
  readonly #documents: ImageDocuments;
  readonly #options: ImportOptions;
  readonly #progress: ProgressSink;
  readonly #stats: PullStats = {
    layersPresent: 0,
    objectsNew: 0,
    objectsPresent: 0,
    bytesStored: 0,
    bytesInlined: 0,
  };
  readonly #kept: KeptLayers;

  constructor(repository: Repository, documents: ImageDocuments, options: ImportOptions) {
    this.#repository = repository;
    this.#documents = documents;
    this.#options = options;
    this.#progress = options.progress ?? (() => {});
    this.#kept = new KeptLayers(repository);
  }

  async run(): Promise<ImportedImage> {
    this.#options.signal?.throwIfAborted();
    const container = configOf(this.#documents) !== undefined;
    const wanted = wantedLayers(this.#documents);
    const present = this.#alreadyComplete(wanted, container);
    if (present !== undefined) {
      this.#checkSeal(present.images, () => buildTree(this.#repository, present.layers));
      nameImage(this.#repository, this.#documents.selected, this.#options.tag);
      this.#repository.sync();
      const { manifestStream, image } = present;
      return { manifestStream, image, stats: this.#stats };
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
    const files = tree?.finish();
    const images = this.#storeImages(files);
    this.#checkSeal(images, () => files ?? buildTree(this.#repository, layers));
    const manifestStream = registerImage(this.#repository, {
      ...this.#documents,
      layers,
      images,
    }, { tag: this.#options.tag });
    this.#kept.release();
    return {
      manifestStream,
      image: images.get(this.#repository.formats[0]!),
      stats: this.#stats,
    };
  }

  /** Whether the image is there with all its layers and images, so that a tag is all it needs. */
  #alreadyComplete(
    wanted: WantedLayer[],
    container: boolean,
  ): PresentImage | undefined {
    if (this.#options.repair) return undefined;
    const repository = this.#repository;
    const damaged = this.#options.healing?.damaged;
    const present = completeImage(repository, this.#documents, { wanted, damaged });
    if (present === undefined) return undefined;
    this.#stats.layersPresent = new Set(wanted.map(({ id }) => id.toString())).size;
    for (const { id } of wanted) this.#progress({ type: "skipped", id: id.toString() });
    const image = container
      ? linkedImage(present.configStream.refs, repository.formats[0]!)
      : undefined;
    const images = new Map<ErofsVersion, ObjectId>();
    for (const version of container ? repository.formats : []) {
      const id = linkedImage(present.configStream.refs, version);
      if (id !== undefined) images.set(version, id);
    }
    const layers = wanted.map(({ id }) => ({ id, object: layerObject(present, id) }));
    return { manifestStream: present.manifestStream.stream, image, images, layers };
  }

  /**
   * Imports the layers that are missing.
   *
   * @param arrived called with the stream object of each layer so far, by identity
   */
  async #importLayers(
    wanted: readonly WantedLayer[],
    arrived: (objects: ReadonlyMap<string, ObjectId>) => void,
  ): Promise<void> {
    const { repair, healing } = this.#options;
    const { present, missing } = missingLayers(this.#repository, wanted, {
      repair,
      damaged: healing?.damaged,
    });
    this.#stats.layersPresent += present.size;
    for (const id of present.keys()) this.#progress({ type: "skipped", id });
    const objects = new Map(present);
    arrived(objects);
    if (missing.length === 0) return;
    const { jobs, signal, remote = false } = this.#options;
    const stop = new AbortController();
    const signals = signal === undefined ? [stop.signal] : [signal, stop.signal];
    const given = AbortSignal.any(signals);
    await using pool = new LayerPool({
      progress: this.#progress,
      signal: given,
      receives: remote,
      ...(jobs === undefined ? {} : { jobs }),
    });
    const { repairPadding } = this.#options;
    const context = { pool, signal: given, objects: this.#objectOptions(), repairPadding };
    const queue = missing.sort((a, b) => b.descriptor.size - a.descriptor.size);
    const failures: unknown[] = [];
    const lane = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        try {
          await this.#importLayer(next, { context, objects });
          arrived(objects);
        } catch (error) {
          // The others are of no use any more; what they say then is only that they were stopped.
          failures.push(pool.failure ?? error);
          queue.length = 0;
          stop.abort();
        }
      }
    };
    // What arrives over a network is on disk until its turn comes: a few layers ahead are enough.
    const lanes = remote ? 2 * pool.threads : MAX_OPEN;
    await Promise.all(Array.from({ length: Math.min(queue.length, lanes) }, lane));
    if (failures.length > 0) throw failures[0];
  }

  #objectOptions(): ObjectDirectoryOptions {
    const writes = healingWrites(this.#repository);
    return this.#options.repair ? { ...writes, thorough: true } : writes;
  }

  async #importLayer(
    layer: WantedLayer,
    to: { context: SupplyContext; objects: Map<string, ObjectId> },
  ): Promise<void> {
    const { id, descriptor } = layer;
    const key = id.toString();
    try {
      const imported = await this.#options.supply(layer, to.context);
      for (const text of imported.warnings) this.#progress({ type: "warning", text });
      this.#kept.add({ id, object: imported.stream }, imported, descriptor.size);
      const before = to.objects.get(key);
      if (before !== undefined) {
        // The same layer packed in another way: read to see that it is, and no more than that.
        if (before === imported.stream) return;
        throw new FormatError("image manifest", `Blob ${descriptor.digest} is another layer`);
      }
      const { stats } = imported;
      this.#stats.objectsNew += stats.created;
      this.#stats.objectsPresent += stats.objects - stats.created;
      this.#stats.bytesStored += stats.createdBytes;
      this.#stats.bytesInlined += stats.inlineBytes;
      to.objects.set(key, imported.stream);
    } catch (cause) {
      throw withContext(`Importing layer ${id}`, cause);
    }
  }

  /** Compares the image with what it claims to be, before it gets a name. */
  #checkSeal(images: ReadonlyMap<ErofsVersion, ObjectId>, files: () => FileTree): void {
    const repository = this.#repository;
    const { manifest } = this.#documents.selected;
    let built: FileTree | undefined;
    const { status, detail } = judgeSeal(repository, {
      manifest,
      config: configOf(this.#documents),
      images: new Map([...images].map(([version, id]) => [`image of format ${version}`, id])),
      build: (version) => repository.idOf(imageBytes(repository, built ??= files(), version)),
    });
    if (status === "ok" || (status === "none" && !this.#options.requireSeal)) return;
    if (this.#options.requireSeal) throw new PolicyError(`Seal check failed: ${detail}`);
    this.#progress({ type: "warning", text: `the image's composefs digest: ${detail}` });
  }

  /** Writes and stores the images of a container; they get no names yet. */
  #storeImages(files: FileTree | undefined): Map<ErofsVersion, ObjectId> {
    const images = new Map<ErofsVersion, ObjectId>();
    if (files === undefined) return images;
    for (const version of this.#repository.formats) {
      const bytes = imageBytes(this.#repository, files, version);
      images.set(version, this.#repository.objects.write(bytes).id);
    }
    return images;
  }
}
