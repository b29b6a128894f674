/** Giving an image its names: config, manifest, layers, images, tag (spec: oci 1.2, 1.4). */
import { ComposefsError, type Digest, type ObjectId } from "../base/mod.ts";
import { flock, openOrMakeDir } from "../../ffi/mod.ts";
import type { ErofsVersion } from "../erofs/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import type { LayerRef } from "./erofs_image.ts";
import { imageRefName, recordReferrer } from "./image.ts";
import type { SelectedManifest } from "../transport/mod.ts";
import { BOOT_IMAGE_REF } from "./ref_names.ts";
import { relinkDocuments, type StoredStream } from "./relink.ts";
import { configStream, layerStream, manifestStream, tagImage } from "./tags.ts";

/** An image of which everything but the documents is stored. */
export interface StoredImage {
  /** Its manifest. */
  readonly selected: Pick<SelectedManifest, "descriptor" | "bytes" | "manifest">;
  /** Its config. */
  readonly configBytes: Uint8Array;
  /** Its layers, oldest first. */
  readonly layers: readonly LayerRef[];
  /** Its images by format; none for artifacts. */
  readonly images: ReadonlyMap<ErofsVersion, ObjectId>;
}

/**
 * Stores config and manifest and names everything, after one sync for all of it; the tag comes
 * last. Others who name things wait meanwhile: what they have named is taken over, so that nothing
 * that somebody needs loses its name.
 *
 * @param options.tag none is made without one
 * @returns object id of the manifest's stream
 */
export function registerImage(
  repository: Repository,
  image: StoredImage,
  options: { tag?: string | undefined } = {},
): ObjectId {
  return whileNaming(repository, () => {
    const { descriptor, bytes, manifest } = image.selected;
    const configDigest = manifest.config.digest;
    const config = storeConfig(repository, image);
    using writer = repository.newStream(CONTENT_TYPE.ociManifest);
    addDocument(repository, writer, bytes);
    writer.addNamedRef(`config:${configDigest}`, config);
    for (const { id, object } of image.layers) writer.addNamedRef(id.toString(), object);
    const manifestObject = repository.objects.write(writer.finish()).id;
    const streams: StoredStream[] = image.layers.map(({ id, object }) => ({
      name: layerStream(id),
      object,
    }));
    streams.push({ name: configStream(configDigest), object: config });
    streams.push({ name: manifestStream(descriptor.digest), object: manifestObject });
    streams.push(...relink(repository, streams));
    repository.sync();
    for (const id of image.images.values()) repository.linkImage(id);
    for (const { name, object } of streams) repository.linkStream(name, object);
    nameImage(repository, image.selected, options.tag);
    // A tag is made durable as it is made.
    if (options.tag === undefined) repository.sync();
    return manifestObject;
  });
}

/** Tags an image that is there, and makes it known to its subject. */
export function nameImage(
  repository: Repository,
  selected: Pick<SelectedManifest, "descriptor" | "manifest">,
  tag: string | undefined,
): void {
  const { descriptor, manifest } = selected;
  if (manifest.subject) recordReferrer(repository, descriptor.digest, manifest.subject.digest);
  if (tag !== undefined) tagImage(repository, descriptor.digest, tag);
}

/** Names a layer that is stored; see {@linkcode nameLayers}. */
export function nameLayer(repository: Repository, layer: LayerRef): void {
  nameLayers(repository, [layer]);
}

/**
 * Names layers that are stored, so that they stay for whoever goes on later. Those that are named
 * already keep their streams.
 */
export function nameLayers(repository: Repository, layers: readonly LayerRef[]): void {
  whileNaming(repository, () => {
    const unnamed = layers.filter(({ id }) =>
      repository.streamObject(layerStream(id)) === undefined
    );
    if (unnamed.length === 0) return;
    repository.sync();
    for (const { id, object } of unnamed) repository.linkStream(layerStream(id), object);
  });
}

/** Runs `work`, which must not wait for anything, while nobody else reads and changes names. */
function whileNaming<T>(repository: Repository, work: () => T): T {
  // The repository's own lock is shared by all who have it open; this one is between namers.
  using lock = openOrMakeDir(repository.directory, "streams");
  flock(lock, "exclusive");
  return work();
}

/** Other images share layers and configs with this one; they go along when those change. */
function relink(repository: Repository, streams: readonly StoredStream[]): StoredStream[] {
  const replaced = new Map<ObjectId, ObjectId>();
  for (const { name, object } of streams) {
    const before = repository.streamObject(name);
    if (before !== undefined && before !== object) replaced.set(before, object);
  }
  const except = new Set(streams.map(({ name }) => name));
  return relinkDocuments(repository, replaced, { except });
}

/** Stores the config with its references: layers, images, and images it had in other formats. */
function storeConfig(repository: Repository, image: StoredImage): ObjectId {
  const { layers, images, configBytes, selected } = image;
  const existing = existingConfigRefs(repository, selected.manifest.config.digest);
  using writer = repository.newStream(CONTENT_TYPE.ociConfig);
  addDocument(repository, writer, configBytes);
  for (const { id, object } of layers) writer.addNamedRef(id.toString(), object);
  const named = new Set(layers.map(({ id }) => id.toString()));
  // Artifacts share the empty config, so what others need stays; so do images of other formats.
  const kept = new Map<string, ObjectId>();
  for (const [name, object] of existing) {
    if (!named.has(name) && repository.objects.size(object) !== undefined) kept.set(name, object);
  }
  for (const [version, id] of images) kept.set(imageRefName(version), id);
  // Images before boot images, each in the order of their names (spec: oci 1.2).
  const rank = (name: string) => Number(name.startsWith(BOOT_IMAGE_REF));
  const order = [...kept.keys()].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  for (const name of order) writer.addNamedRef(name, kept.get(name)!);
  return repository.objects.write(writer.finish()).id;
}

function existingConfigRefs(
  repository: Repository,
  digest: Digest,
): ReadonlyMap<string, ObjectId> {
  try {
    const contentType = CONTENT_TYPE.ociConfig;
    return repository.openStream(configStream(digest), { contentType }).namedRefs;
  } catch (error) {
    if (error instanceof ComposefsError) return new Map(); // absent, or damaged and written anew
    throw error;
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
