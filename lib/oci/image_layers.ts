/** Which layers an image wants, and what of it is there already (spec: oci 1.4, 2.5). */
import { ComposefsError, FormatError, type ObjectId } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import {
  type ImageConfig,
  isImageConfigType,
  parseConfig,
  type SelectedManifest,
  tarCompression,
} from "../transport/mod.ts";
import { hasWholeLayer, linkedImage, type OciImage, openManifest } from "./image.ts";
import { standsFor, type WantedLayer } from "./layer_supply.ts";
import { configStream, layerStream } from "./tags.ts";

/** The documents of an image, verified. */
export interface ImageDocuments {
  /** The manifest. */
  readonly selected: Pick<SelectedManifest, "descriptor" | "bytes" | "manifest">;
  /** The exact bytes of the config. */
  readonly configBytes: Uint8Array;
}

/**
 * The layers that an image wants, oldest first.
 *
 * @throws {FormatError} when manifest and config do not agree, or a layer is no tar
 */
export function wantedLayers(documents: ImageDocuments): WantedLayer[] {
  const { manifest } = documents.selected;
  const config = configOf(documents);
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

/** The config of a container image; `undefined` for artifacts. */
export function configOf({ selected, configBytes }: ImageDocuments): ImageConfig | undefined {
  const container = isImageConfigType(selected.manifest.config.mediaType);
  return container ? parseConfig(configBytes) : undefined;
}

/** What is there of an image's layers, and what is not. */
export interface LayerNeed {
  /** Stream objects of layers that are there, by identity. */
  readonly present: ReadonlyMap<string, ObjectId>;
  /** Layers to come by: each blob once, also when two of them hold the same layer. */
  readonly missing: WantedLayer[];
}

/**
 * Looks which layers are missing.
 *
 * @param options.repair layers to take for damaged: all, or those with these identities
 * @param options.damaged objects that count as missing
 */
export function missingLayers(
  repository: Repository,
  wanted: readonly WantedLayer[],
  options: {
    repair?: boolean | ReadonlySet<string> | undefined;
    damaged?: ReadonlySet<ObjectId> | undefined;
  } = {},
): LayerNeed {
  const { repair = false, damaged } = options;
  const present = new Map<string, ObjectId>();
  const missing = new Map<string, WantedLayer>();
  const isThere = undamagedObjects(repository, damaged);
  for (const layer of wanted) {
    const key = layer.id.toString();
    const blob = `${key} ${layer.descriptor.digest}`;
    if (present.has(key) || missing.has(blob)) continue;
    const found = (typeof repair === "boolean" ? repair : repair.has(key))
      ? undefined
      : hasWholeLayer(repository, layer.id, {
        accepts: (stream) => standsFor(stream, layer),
        isThere,
      });
    if (found === undefined) missing.set(blob, asStored(repository, layer));
    else present.set(key, found);
  }
  return { present, missing: [...missing.values()] };
}

/** Tells which objects are there and not damaged. */
function undamagedObjects(
  repository: Repository,
  damaged: ReadonlySet<ObjectId> | undefined,
): (id: ObjectId) => boolean {
  const isThere = repository.objects.snapshot();
  return damaged === undefined || damaged.size === 0
    ? isThere
    : (id) => isThere(id) && !damaged.has(id);
}

/**
 * An artifact's tar is unpacked, but not when the blob is there as it is: another artifact needs it
 * that way, and it serves both.
 */
function asStored(repository: Repository, layer: WantedLayer): WantedLayer {
  if (layer.id !== layer.descriptor.digest || layer.tar === undefined) return layer;
  try {
    const { contentType } = repository.openStream(layerStream(layer.id));
    return contentType === CONTENT_TYPE.ociBlob ? { ...layer, tar: undefined } : layer;
  } catch (error) {
    if (error instanceof ComposefsError) return layer; // absent, or too damaged to tell
    throw error;
  }
}

/**
 * The image as it is stored, when it is there with all its layers and images.
 *
 * @param options.damaged objects that count as missing
 */
export function completeImage(
  repository: Repository,
  documents: ImageDocuments,
  options: {
    wanted: readonly WantedLayer[];
    damaged?: ReadonlySet<ObjectId> | undefined;
  },
): OciImage | undefined {
  const { wanted, damaged } = options;
  let image: OciImage;
  try {
    image = openManifest(repository, documents.selected.descriptor.digest);
    if (repository.streamObject(configStream(image.configDigest)) === undefined) return undefined;
    if (image.config !== undefined && !hasImages(repository, image)) return undefined;
  } catch (error) {
    if (error instanceof ComposefsError) return undefined; // absent, or damaged and made anew
    throw error;
  }
  const isThere = undamagedObjects(repository, damaged);
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
  return image;
}

/** Whether there is a sound image in every format; formats 0 and 1 share a reference. */
function hasImages(repository: Repository, { configStream }: OciImage): boolean {
  return repository.formats.every((version) => {
    const id = linkedImage(configStream.refs, version);
    return id !== undefined && repository.hasImage(id) &&
      repository.readImage(id).version === version;
  });
}
