/** Images in a repository: manifest, config, layers and what belongs to them (spec: oci 1). */
import {
  ComposefsError,
  Digest,
  FormatError,
  InvalidNameError,
  NotFoundError,
  type ObjectId,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import { type OpenStream, type Repository, singleObject } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import {
  type ImageConfig,
  isImageConfigType,
  type Manifest,
  MAX_DOCUMENT_SIZE,
  parseConfig,
  parseManifest,
  verifyBytes,
} from "../transport/mod.ts";
import { BOOT_IMAGE_REF, IMAGE_REF_V1, IMAGE_REF_V2, REFERRER_REFS } from "./ref_names.ts";
import { configStream, layerStream, manifestStream, resolveTag } from "./tags.ts";

/** A document stream: JSON bytes and the references next to them. */
export interface DocumentStream {
  /** Object id of the splitstream file. */
  readonly stream: ObjectId;
  /** The exact JSON bytes. */
  readonly bytes: Uint8Array;
  /** Named references. */
  readonly refs: ReadonlyMap<string, ObjectId>;
}

/** An image (or artifact) of a repository. */
export interface OciImage {
  /** Digest of the manifest. */
  readonly manifestDigest: Digest;
  /** The stored manifest. */
  readonly manifestStream: DocumentStream;
  /** The parsed manifest. */
  readonly manifest: Manifest;
  /** Digest of the config. */
  readonly configDigest: Digest;
  /** The stored config. */
  readonly configStream: DocumentStream;
  /** The parsed config; `undefined` for artifacts. */
  readonly config: ImageConfig | undefined;
  /** Identities of the layers in order: diff_ids, or blob digests of an artifact. */
  readonly layerIds: readonly Digest[];
}

/** Opens a stream that holds one JSON document. */
export function readDocumentStream(
  repository: Repository,
  stream: OpenStream,
): DocumentStream {
  return {
    stream: stream.id,
    bytes: repository.objects.read(singleObject(stream), { maxSize: MAX_DOCUMENT_SIZE }),
    refs: stream.namedRefs,
  };
}

/**
 * Opens an image by tag, or by manifest digest as `@sha256:…` or `sha256:…`.
 *
 * @throws {NotFoundError} when there is no such image
 * @throws {DigestMismatchError} when the stored bytes are not what the digest says
 */
export function openImageRef(repository: Repository, reference: string): OciImage {
  return openManifest(repository, resolveReference(repository, reference));
}

/** Manifest digest that a reference means. */
export function resolveReference(repository: Repository, reference: string): Digest {
  if (reference.startsWith("@")) return Digest.parse(reference.slice(1));
  if (/^sha(256|384|512):[0-9a-f]+$/.test(reference)) {
    const digest = Digest.parse(reference);
    if (repository.streamObject(manifestStream(digest)) !== undefined) return digest;
  }
  return resolveTag(repository, reference);
}

/** Opens an image by manifest digest. */
export function openManifest(repository: Repository, digest: Digest): OciImage {
  const contentType = CONTENT_TYPE.ociManifest;
  const opened = openNamed(repository, manifestStream(digest), { contentType, what: "manifest" });
  const manifestDoc = readDocumentStream(repository, opened);
  verifyBytes(manifestDoc.bytes, digest, "manifest");
  const manifest = parseManifest(manifestDoc.bytes);
  const configDigest = manifest.config.digest;
  const configId = manifestDoc.refs.get(`config:${configDigest}`);
  if (configId === undefined) {
    throw new FormatError("manifest", `Manifest ${digest} has no reference to its config`);
  }
  let configDoc: DocumentStream;
  try {
    const stream = repository.openStreamObject(configId, { contentType: CONTENT_TYPE.ociConfig });
    configDoc = readDocumentStream(repository, stream);
  } catch (cause) {
    throw withContext(`Opening config ${configDigest}`, cause);
  }
  verifyBytes(configDoc.bytes, configDigest, "config");
  const config = isImageConfigType(manifest.config.mediaType)
    ? parseConfig(configDoc.bytes)
    : undefined;
  return {
    manifestDigest: digest,
    manifestStream: manifestDoc,
    manifest,
    configDigest,
    configStream: configDoc,
    config,
    layerIds: config?.diffIds ?? manifest.layers.map((layer) => layer.digest),
  };
}

function openNamed(
  repository: Repository,
  name: string,
  options: { contentType: bigint; what: string },
): OpenStream {
  try {
    return repository.openStream(name, options);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new NotFoundError(options.what, name, {
      message: `${options.what} not found in the repository: ${name}`,
      cause: error,
    });
  }
}

/** A config opened on its own: what `@<config digest>` means to `dump` and `compute-id`. */
export interface OpenConfig {
  /** The parsed config. */
  readonly config: ImageConfig;
  /** The stored config. */
  readonly document: DocumentStream;
}

/** Opens a config by its digest. */
export function openConfig(repository: Repository, digest: Digest): OpenConfig {
  const contentType = CONTENT_TYPE.ociConfig;
  const stream = openNamed(repository, configStream(digest), { contentType, what: "config" });
  const document = readDocumentStream(repository, stream);
  verifyBytes(document.bytes, digest, "config");
  return { config: parseConfig(document.bytes), document };
}

/** Name of the reference to an image of a format. */
export function imageRefName(version: 0 | 1 | 2, boot = false): string {
  if (boot) return version === 2 ? BOOT_IMAGE_REF : `${BOOT_IMAGE_REF}.v1`;
  return version === 2 ? IMAGE_REF_V2 : IMAGE_REF_V1;
}

/** EROFS image of a format that is linked in a config's references. */
export function linkedImage(
  refs: ReadonlyMap<string, ObjectId>,
  version: 0 | 1 | 2,
  boot = false,
): ObjectId | undefined {
  return refs.get(imageRefName(version, boot));
}

/**
 * The image to mount.
 *
 * @throws {NotFoundError} when the image has none, for example because it is an artifact
 */
export function mountableImage(
  repository: Repository,
  image: OciImage,
  options: { boot?: boolean } = {},
): ObjectId {
  const boot = options.boot ?? false;
  const id = linkedImage(image.configStream.refs, repository.formats[0]!, boot);
  if (id !== undefined) return id;
  if (image.config === undefined) {
    throw new UnsupportedError(`${image.manifestDigest} is an artifact, not a container image`);
  }
  throw new NotFoundError(boot ? "boot image" : "EROFS image", image.manifestDigest.toString(), {
    message: boot
      ? "No boot EROFS image linked — try pulling with --bootable"
      : "No composefs EROFS image linked — try re-pulling the image",
  });
}

/** Object of a layer's stream, as the manifest knows it. */
export function layerObject(image: OciImage, id: Digest): ObjectId {
  const object = image.configStream.refs.get(id.toString()) ??
    image.manifestStream.refs.get(id.toString());
  if (object === undefined) throw new NotFoundError("layer", id.toString());
  return object;
}

/** Digests of the manifests that refer to this one, sorted. */
export function listReferrers(repository: Repository, subject: Digest): Digest[] {
  const below = `${REFERRER_REFS}/${subject}`;
  const referrers: Digest[] = [];
  for (const ref of repository.listRefs("streams", below)) {
    const artifact = parseDigest(ref.name.slice(below.length + 1));
    if (artifact === undefined || ref.entry !== manifestStream(artifact)) continue;
    if (repository.streamObject(ref.entry) !== undefined) referrers.push(artifact);
  }
  return referrers;
}

/** A digest from a name on disk; `undefined` for names that somebody else put there. */
function parseDigest(text: string): Digest | undefined {
  try {
    return Digest.parse(text);
  } catch {
    return undefined; // no digest, so nothing of ours
  }
}

function hasManifest(repository: Repository, digest: Digest): boolean {
  try {
    return repository.streamObject(manifestStream(digest)) !== undefined;
  } catch (error) {
    // A digest of an unknown kind that is too long for a name: there can be no such stream.
    if (error instanceof InvalidNameError) return false;
    throw error;
  }
}

/** Makes the link from a subject to an artifact that refers to it. */
export function recordReferrer(repository: Repository, artifact: Digest, subject: Digest): void {
  const entry = manifestStream(artifact);
  repository.setRef("streams", `${REFERRER_REFS}/${subject}/${artifact}`, { entry });
}

/** Names of the links from subjects that are gone, which the collector is to remove. */
export function staleReferrers(repository: Repository): string[] {
  const stale: string[] = [];
  for (const ref of repository.listRefs("streams", REFERRER_REFS)) {
    const match = /^oci-referrers\/([^/]+)\/[^/]+$/.exec(ref.name);
    if (match === null) continue;
    const subject = parseDigest(match[1]!);
    if (subject === undefined || !hasManifest(repository, subject)) stale.push(ref.name);
  }
  return stale;
}

/** Whether a stream is a split tar. */
export function isSplitTar(stream: OpenStream): boolean {
  return stream.contentType === CONTENT_TYPE.ociLayer;
}

/**
 * The stream object of a layer that is stored with all its objects.
 *
 * @param options.accepts whether a stream is what is wanted: a name can also stand for a blob that is kept
 * as it is, or for an artifact's compressed layer that was unpacked
 * @param options.isThere tells which objects are there; shared by those who ask about many layers
 */
export function hasWholeLayer(
  repository: Repository,
  id: Digest,
  options: { accepts: (stream: OpenStream) => boolean; isThere?: (id: ObjectId) => boolean },
): ObjectId | undefined {
  const isThere = options.isThere ?? repository.objects.snapshot();
  try {
    const object = repository.streamObject(layerStream(id));
    if (object === undefined) return undefined;
    const stream = repository.openStreamObject(object);
    if (!options.accepts(stream)) return undefined;
    for (const ref of stream.objectRefs) {
      if (!isThere(ref)) return undefined;
    }
    return object;
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    // Damaged or gone: the layer is imported again, which repairs it.
    return undefined;
  }
}
