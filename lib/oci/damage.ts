/** What is wrong with a stored image, and which objects it takes to put it right (spec: oci 4.5). */
import { ComposefsError, type Digest, displayByteString, type ObjectId } from "../base/mod.ts";
import { type OpenStream, reasonOf, type Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import { readLayerEntries } from "../tar/mod.ts";
import { parseConfig, parseManifest, tarCompression } from "../transport/mod.ts";
import { imageRefName, type OciImage, openManifest, readDocumentStream } from "./image.ts";
import { hashLayer } from "./layer.ts";
import { contentDigest } from "./stored_layer_import.ts";
import { layerStream, manifestStream } from "./tags.ts";

/** Most paths that are named. */
const MAX_PATHS = 10;

/** A layer that is not what it should be. */
export interface LayerDamage {
  /** Why, in one line. */
  readonly text: string;
  /** The objects that are missing or damaged; none when a sound stream holds other content. */
  readonly objects: readonly ObjectId[];
}

/**
 * Compares a layer with its digest.
 *
 * @param object object of the layer's stream
 * @param expected digest of the content; without one the objects are verified
 * @returns `undefined` for a sound layer
 */
export function layerDamage(
  repository: Repository,
  object: ObjectId,
  expected: Digest | undefined,
): LayerDamage | undefined {
  let stream: OpenStream;
  try {
    stream = repository.openStreamObject(object);
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return { text: reasonOf(error), objects: [object] };
  }
  const fault = contentFault(repository, stream, expected);
  if (fault === undefined) return undefined;
  const objects = damagedObjects(repository, stream);
  const paths = pathsOf(stream, new Set(objects));
  return { text: paths === "" ? fault : `${fault} (${paths})`, objects };
}

function contentFault(
  repository: Repository,
  stream: OpenStream,
  expected: Digest | undefined,
): string | undefined {
  try {
    if (expected === undefined) {
      for (const _ of repository.streamContent(stream, { verify: true }));
      return undefined;
    }
    const actual = hashLayer(repository, expected, stream);
    return actual.equals(expected) ? undefined : `content has digest ${actual}`;
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return reasonOf(error);
  }
}

function damagedObjects(repository: Repository, stream: OpenStream): ObjectId[] {
  return [...new Set(stream.objectRefs)].filter((id) => !repository.objects.isSound(id));
}

/** Paths of the files whose content is damaged, as the layer has them. */
function pathsOf(stream: OpenStream, damaged: ReadonlySet<ObjectId>): string {
  const paths: string[] = [];
  if (damaged.size === 0 || stream.contentType !== CONTENT_TYPE.ociLayer) return "";
  try {
    for (const { path, item } of readLayerEntries(stream)) {
      if (item.type !== "external" || !damaged.has(item.digest)) continue;
      if (paths.length === MAX_PATHS) return `${paths.join(", ")}, ...`;
      paths.push(displayByteString(path));
    }
  } catch (error) {
    // What can be read of the layer tells what it tells.
    if (!(error instanceof ComposefsError)) throw error;
  }
  return paths.join(", ");
}

/** What is wrong with an image. */
export interface ImageDamage {
  /** What is wrong, a line each; nothing for a sound image. */
  readonly faults: readonly string[];
  /** The objects that are missing or damaged, as far as can be told from what is there. */
  readonly objects: ReadonlySet<ObjectId>;
  /** Identities of the layers that are damaged or missing. */
  readonly layers: ReadonlySet<string>;
}

/**
 * Looks at everything that belongs to an image. What hangs on something damaged shows only when
 * that is repaired.
 *
 * @param digest of its manifest
 */
export function imageDamage(repository: Repository, digest: Digest): ImageDamage {
  const faults: string[] = [];
  const objects = new Set<ObjectId>();
  const layers = new Set<string>();
  const found = openOrTell(repository, digest, { faults, objects });
  if (found === undefined) return { faults, objects, layers };
  for (const [i, descriptor] of found.manifest.layers.entries()) {
    const id = found.layerIds[i];
    const key = String(id);
    if (id === undefined || layers.has(key)) continue;
    const object = found.manifestStream.refs.get(key);
    if (object === undefined || found.configStream.refs.get(key) !== object) {
      faults.push(`layer ${key} is not referred to`);
      layers.add(key);
      continue;
    }
    if (nameOf(repository, layerStream(id)) !== object) faults.push(`layer ${key} has no name`);
    const plain = tarCompression(descriptor.mediaType) === "none";
    const kind = contentType(repository, object);
    const expected = contentDigest({ id, blob: descriptor.digest, plain }, kind);
    const damage = layerDamage(repository, object, expected);
    if (damage === undefined) continue;
    faults.push(`layer ${key}: ${damage.text}`);
    layers.add(key);
    for (const one of damage.objects) objects.add(one);
  }
  if (found.config !== undefined) checkImages(repository, found, { faults, objects });
  return { faults, objects, layers };
}

/** Content type of a layer's stream; that of a tar when it cannot be read. */
function contentType(repository: Repository, object: ObjectId): bigint {
  try {
    return repository.openStreamObject(object).contentType;
  } catch (error) {
    if (error instanceof ComposefsError) return CONTENT_TYPE.ociLayer; // found again below
    throw error;
  }
}

function nameOf(repository: Repository, name: string): ObjectId | undefined {
  try {
    return repository.streamObject(name);
  } catch (error) {
    if (error instanceof ComposefsError) return undefined; // leads nowhere that makes sense
    throw error;
  }
}

type Findings = { faults: string[]; objects: Set<ObjectId> };

/** Opens an image, or notes what keeps it from being opened. */
function openOrTell(
  repository: Repository,
  digest: Digest,
  { faults, objects }: Findings,
): OciImage | undefined {
  try {
    const image = openManifest(repository, digest);
    if (nameOf(repository, `oci-config-${image.configDigest}`) === undefined) {
      faults.push(`config ${image.configDigest} has no name`);
    }
    return image;
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    faults.push(reasonOf(error));
  }
  const stream = nameOf(repository, manifestStream(digest));
  if (stream === undefined) return undefined;
  const manifest = addDocument(repository, stream, objects);
  if (manifest === undefined) return undefined;
  try {
    const { config } = parseManifest(manifest.bytes);
    const object = manifest.refs.get(`config:${config.digest}`);
    const opened = object === undefined ? undefined : addDocument(repository, object, objects);
    if (opened !== undefined) parseConfig(opened.bytes);
  } catch (error) {
    // The fault is noted already; this only looked for objects.
    if (!(error instanceof ComposefsError)) throw error;
  }
  return undefined;
}

/** Reads a document, or notes which of its objects it takes. */
function addDocument(
  repository: Repository,
  object: ObjectId,
  objects: Set<ObjectId>,
): { bytes: Uint8Array; refs: ReadonlyMap<string, ObjectId> } | undefined {
  if (!repository.objects.isSound(object)) {
    objects.add(object);
    return undefined;
  }
  try {
    const stream = repository.openStreamObject(object);
    for (const id of damagedObjects(repository, stream)) objects.add(id);
    return readDocumentStream(repository, stream);
  } catch (error) {
    if (error instanceof ComposefsError) return undefined; // its objects are noted
    throw error;
  }
}

/** Looks at the images that an image has, and for those that it should have. */
function checkImages(
  repository: Repository,
  image: OciImage,
  { faults, objects }: Findings,
): void {
  const { refs } = image.configStream;
  for (const [name, id] of refs) {
    if (!name.startsWith("composefs.image")) continue;
    try {
      repository.readImage(id);
      if (!repository.hasImage(id)) faults.push(`image ${id} has no name`);
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      faults.push(`image ${id}: ${reasonOf(error)}`);
      objects.add(id);
    }
  }
  for (const version of repository.formats) {
    if (!refs.has(imageRefName(version))) faults.push(`no image in format ${version}`);
  }
}
