/** Repairing stored images from wherever their content can be had (spec: oci 4.5, 9). */
import {
  ComposefsError,
  type Digest,
  NotFoundError,
  type ObjectId,
  type ProgressSink,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import { AT_FDCWD, preadFull, statAt } from "../../ffi/mod.ts";
import { forgetHealed, ObjectDirectory, Repository } from "../repository/mod.ts";
import {
  type Descriptor,
  type ImageSource,
  isImageConfigType,
  MANIFEST_TYPE,
  nativePlatform,
  openSource,
  parseConfig,
  parseManifest,
  type Platform,
  type RegistryAccess,
  tarCompression,
  verifyBytes,
} from "../transport/mod.ts";
import { storedLayers } from "./copy.ts";
import { type ImageDamage, imageDamage, layerDamage } from "./damage.ts";
import type { LayerRef } from "./erofs_image.ts";
import { importImage } from "./image_import.ts";
import { type ImageDocuments, wantedLayers } from "./image_layers.ts";
import { type OciImage, openManifest, resolveReference } from "./image.ts";
import { type LayerSupply, wholeBlobs } from "./layer_supply.ts";
import { nameLayers } from "./register.ts";
import { layerStream, manifestStream } from "./tags.ts";

/** How to repair. */
export interface RepairOptions {
  /**
   * Path of another repository that has the image, or a reference as of {@linkcode openSource}.
   *
   * @default the tag, when it is a reference; nothing else, which puts right what can be worked out
   */
  from?: string | undefined;
  /** Platform to choose from an index. @default the one this program runs on */
  platform?: Platform | undefined;
  /** How registries are talked to. */
  registry?: RegistryAccess | undefined;
  /** Workers. @default navigator.hardwareConcurrency */
  jobs?: number | undefined;
  /** Gives up when aborted. */
  signal?: AbortSignal | undefined;
  /** Told how far it is, and about warnings. */
  progress?: ProgressSink | undefined;
}

/** What a repair came to. */
export interface RepairResult {
  /** Digest of the image's manifest. */
  readonly manifestDigest: Digest;
  /** What was wrong, a line each. */
  readonly faults: readonly string[];
  /** Objects that were taken from another repository one by one. */
  readonly objectsRestored: number;
  /** Identities of the layers that were imported again. */
  readonly layersImported: readonly string[];
}

const PIECE = 1 << 20;

/**
 * Repairs an image: looks what is damaged or missing, fetches that and no more, and looks again.
 * From another repository with the same algorithm it takes single objects, from other sources the
 * layers that need them. Everything is checked before it gets into the place of what is there.
 *
 * @param reference tag, or manifest digest as `@sha256:…`; the documents may be damaged
 * @throws {NotFoundError} when there is no such image
 * @throws {ComposefsError} when something could not be put right; nothing is worse than before
 */
export async function repairImage(
  repository: Repository,
  reference: string,
  options: RepairOptions = {},
): Promise<RepairResult> {
  repository.assertWritable();
  const digest = resolveReference(repository, reference);
  const from = options.from ?? sourceOf(reference);
  const repair = new Repair(repository, digest, options);
  try {
    if (from === undefined) return await repair.run(undefined);
    if (isRepository(from)) {
      using other = Repository.open(from, { noUpgrade: true });
      return await repair.run({ repository: other });
    }
    await using source = await openSource(from, {
      ...options.registry,
      signal: options.signal,
      repository,
    });
    return await repair.run({ source });
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw withContext(`Unable to repair ${reference}`, cause);
  }
}

/** A tag that was made by a pull without a name is the reference it was pulled from. */
function sourceOf(reference: string): string | undefined {
  return /^(docker:\/\/|(oci|oci-archive|dir|docker-archive|registry):)./.test(reference)
    ? reference
    : undefined;
}

function isRepository(path: string): boolean {
  return statAt(AT_FDCWD, `${path}/meta.json`) !== undefined ||
    statAt(AT_FDCWD, `${path}/objects`) !== undefined;
}

type Origin = { readonly repository: Repository } | { readonly source: ImageSource } | undefined;

/** One repair. */
class Repair {
  readonly #repository: Repository;
  readonly #digest: Digest;
  readonly #options: RepairOptions;
  readonly #progress: ProgressSink;
  #restored = 0;

  constructor(repository: Repository, digest: Digest, options: RepairOptions) {
    this.#repository = repository;
    this.#digest = digest;
    this.#options = options;
    this.#progress = options.progress ?? (() => {});
  }

  async run(origin: Origin): Promise<RepairResult> {
    const first = imageDamage(this.#repository, this.#digest);
    const faults = new Set(first.faults);
    const result = (layersImported: readonly string[]): RepairResult => ({
      manifestDigest: this.#digest,
      faults: [...faults],
      objectsRestored: this.#restored,
      layersImported,
    });
    if (first.faults.length === 0) return this.#healed(result([]));
    const left = this.#restoreObjects(first, { origin, faults });
    if (left.faults.length === 0) return this.#healed(result([]));
    const layers = await this.#import(left, origin);
    const after = imageDamage(this.#repository, this.#digest);
    if (after.faults.length > 0) {
      throw new ComposefsError("CFS_FAILED", `Still damaged: ${after.faults.join("; ")}`);
    }
    return this.#healed(result([...layers]));
  }

  /** Ends a repair after which all is sound and durable. */
  #healed(result: RepairResult): RepairResult {
    forgetHealed(this.#repository, manifestStream(this.#digest), (text) => {
      this.#progress({ type: "warning", text });
    });
    return result;
  }

  /** Takes objects from the other repository, as long as that brings more to light. */
  #restoreObjects(
    damage: ImageDamage,
    { origin, faults }: { origin: Origin; faults: Set<string> },
  ): ImageDamage {
    const tried = new Set<ObjectId>();
    let left = damage;
    if (origin === undefined || !("repository" in origin)) return left;
    if (origin.repository.algorithm.hash !== this.#repository.algorithm.hash) return left;
    for (;;) {
      const wanted = [...left.objects].filter((id) => !tried.has(id));
      let restored = 0;
      for (const id of wanted) {
        tried.add(id);
        if (this.#restore(origin.repository, id)) restored++;
      }
      if (restored === 0) return left;
      this.#restored += restored;
      this.#repository.sync();
      left = imageDamage(this.#repository, this.#digest);
      for (const fault of left.faults) faults.add(fault);
      if (left.faults.length === 0) return left;
    }
  }

  /** Takes one object; false when the other repository does not have it, or not whole. */
  #restore(from: Repository, id: ObjectId): boolean {
    this.#options.signal?.throwIfAborted();
    const directory = new ObjectDirectory({
      dir: this.#repository.objects.makeDirectory().number,
      algorithm: this.#repository.algorithm,
      secure: this.#repository.secure,
      thorough: true,
    });
    try {
      using fd = from.objects.openVerified(id);
      using file = directory.begin();
      const piece = new Uint8Array(PIECE);
      for (let offset = 0;;) {
        const got = preadFull(fd, piece, offset);
        if (got > 0) file.write(piece.subarray(0, got));
        offset += got;
        if (got < PIECE) break;
      }
      return file.finish().id === id;
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      this.#progress({ type: "warning", text: `object ${id} is not to be had: ${error.message}` });
      return false;
    }
  }

  /** Imports the damaged layers again, makes images that are damaged, and names everything. */
  async #import(left: ImageDamage, origin: Origin): Promise<ReadonlySet<string>> {
    const documents = await this.#documents(origin);
    this.#nameSoundLayers();
    const layers = new Set([...left.layers, ...this.#damagedByName(documents)]);
    await importImage(this.#repository, documents, {
      supply: await this.#supply(origin),
      remote: origin !== undefined && "source" in origin && origin.source.remote,
      jobs: this.#options.jobs,
      repair: layers,
      signal: this.#options.signal,
      progress: this.#progress,
    });
    return layers;
  }

  /** Gives layers that are there and sound the names that they have lost. */
  #nameSoundLayers(): void {
    const repository = this.#repository;
    let image: OciImage;
    try {
      image = openManifest(repository, this.#digest);
    } catch (error) {
      if (error instanceof ComposefsError) return; // nothing says which ones they are
      throw error;
    }
    const layers: LayerRef[] = [];
    for (const id of image.layerIds) {
      const object = image.manifestStream.refs.get(id.toString());
      if (object === undefined || repository.objects.size(object) === undefined) continue;
      layers.push({ id, object });
    }
    nameLayers(repository, layers);
  }

  /** Layers whose names lead to something damaged or nowhere; the documents may have said more. */
  *#damagedByName(documents: ImageDocuments): Generator<string> {
    for (const { id, descriptor, tar } of wantedLayers(documents)) {
      const object = this.#repository.streamObject(layerStream(id));
      const artifact = id.equals(descriptor.digest);
      const expected = artifact && tar !== undefined && tar !== "none" ? undefined : id;
      if (object === undefined || layerDamage(this.#repository, object, expected) !== undefined) {
        yield id.toString();
      }
    }
  }

  /** The documents as they are here, or as the source has them. */
  async #documents(origin: Origin): Promise<ImageDocuments> {
    try {
      const image = openManifest(this.#repository, this.#digest);
      return this.#checked(image.manifestStream.bytes, image.configStream.bytes);
    } catch (error) {
      if (!(error instanceof ComposefsError) || origin === undefined) throw error;
    }
    if ("repository" in origin) {
      const image = openManifest(origin.repository, this.#digest);
      return this.#checked(image.manifestStream.bytes, image.configStream.bytes);
    }
    const { platform = nativePlatform() } = this.#options;
    const { manifest, bytes } = await origin.source.resolve({ platform });
    return this.#checked(bytes, await origin.source.document(manifest.config, "image config"));
  }

  #checked(bytes: Uint8Array, configBytes: Uint8Array): ImageDocuments {
    verifyBytes(bytes, this.#digest, "manifest");
    const manifest = parseManifest(bytes);
    verifyBytes(configBytes, manifest.config.digest, "config");
    const mediaType = manifest.mediaType ?? MANIFEST_TYPE;
    const descriptor = { mediaType, digest: this.#digest, size: bytes.length };
    return { selected: { descriptor, bytes: Uint8Array.from(bytes), manifest }, configBytes };
  }

  async #supply(origin: Origin): Promise<LayerSupply> {
    if (origin === undefined) {
      return ({ id }) => {
        throw new NotFoundError("layer", id.toString(), {
          message: `Layer ${id} is damaged, and no source to fetch it from was named`,
        });
      };
    }
    if ("repository" in origin) {
      const image = openManifest(origin.repository, this.#digest);
      return storedLayers(image, { from: origin.repository });
    }
    return await this.#fromSource(origin.source);
  }

  /** The source may have the same layers packed in another way: they are known by their content. */
  async #fromSource(source: ImageSource): Promise<LayerSupply> {
    const { platform = nativePlatform() } = this.#options;
    const { manifest } = await source.resolve({ platform });
    const blobs = new Map<string, Descriptor>();
    if (isImageConfigType(manifest.config.mediaType)) {
      const config = parseConfig(await source.document(manifest.config, "image config"));
      for (const [i, id] of config.diffIds.entries()) {
        const blob = manifest.layers[i];
        if (blob !== undefined) blobs.set(id.toString(), blob);
      }
    }
    const whole = wholeBlobs(source);
    return (layer, context) => {
      const artifact = layer.id.equals(layer.descriptor.digest);
      const descriptor = blobs.get(layer.id.toString()) ??
        (artifact ? layer.descriptor : undefined);
      if (descriptor === undefined) {
        throw new UnsupportedError(`${source.name} is another image: it has no layer ${layer.id}`);
      }
      const tar = artifact ? layer.tar : tarCompression(descriptor.mediaType) ?? layer.tar;
      return whole({ ...layer, descriptor, tar }, context);
    };
  }
}
