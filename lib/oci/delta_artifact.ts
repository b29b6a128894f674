/** Delta artifacts: manifests that say how to make an image from another one (spec: oci 7.1). */
import { Digest, FormatError, withContext } from "../base/mod.ts";
import { DELTA_ANNOTATION, DELTA_CONTENT, DELTA_TYPES } from "../delta/mod.ts";
import {
  type Descriptor,
  type ImageSource,
  type Manifest,
  MANIFEST_TYPE,
  parseManifest,
} from "../transport/mod.ts";
import type { ImageDocuments } from "./image_layers.ts";

/** Media type of what is no manifest. */
const BLOB_TYPE = "application/octet-stream";

/** What a delta's manifest says. */
export interface DeltaArtifact {
  /** Config digest of the image that it starts from. */
  readonly sourceConfig: Digest;
  /** The target's manifest, as a blob of the delta. */
  readonly manifest: Descriptor;
  /** The target's config, as a blob of the delta. */
  readonly config: Descriptor;
  /** How to get layers: blobs of the delta by digest of the target's layer. */
  readonly layers: ReadonlyMap<string, Descriptor>;
  /** What the target's manifest digest has to be: subject and annotation, when they are there. */
  readonly targets: readonly Digest[];
  /** Manifests of embedded signatures. */
  readonly signatures: readonly Descriptor[];
  /** Blobs that those refer to, by digest. */
  readonly signatureContents: ReadonlyMap<string, Descriptor>;
}

/** Whether a manifest is that of a delta, in either way to say so. */
export function isDelta(manifest: Manifest): boolean {
  return DELTA_TYPES.includes(manifest.artifactType || manifest.config.mediaType);
}

function fail(message: string): FormatError {
  return new FormatError("delta", message);
}

/**
 * Reads the manifest of a delta. What is unknown in it is ignored.
 *
 * @throws {FormatError} with the reference's words for what is missing
 */
export function parseDelta(manifest: Manifest): DeltaArtifact {
  const { annotations } = manifest;
  if (!annotations) throw fail("Delta manifest has no annotations");
  const source = annotations[DELTA_ANNOTATION.sourceConfig];
  if (source === undefined) throw fail("Delta missing source config digest annotation");
  const sourceConfig = parseDigest(source, "Invalid source config digest");
  const layers = new Map<string, Descriptor>();
  const signatures: Descriptor[] = [];
  const signatureContents = new Map<string, Descriptor>();
  let image: Descriptor | undefined;
  let config: Descriptor | undefined;
  for (const layer of manifest.layers) {
    switch (layer.annotations?.[DELTA_ANNOTATION.content]) {
      case DELTA_CONTENT.manifest:
        image ??= layer;
        break;
      case DELTA_CONTENT.config:
        config ??= layer;
        break;
      case DELTA_CONTENT.layer: {
        const to = layer.annotations[DELTA_ANNOTATION.to];
        if (!to) break;
        const key = parseDigest(to, "Invalid delta.to digest").toString();
        if (!layers.has(key)) layers.set(key, layer);
        break;
      }
      case DELTA_CONTENT.signature:
        signatures.push(layer);
        break;
      case DELTA_CONTENT.signatureContent:
        signatureContents.set(layer.digest.toString(), layer);
    }
  }
  if (image === undefined) throw fail("Delta manifest has no embedded image manifest");
  if (config === undefined) throw fail("Delta manifest has no embedded image config");
  const targets = manifest.subject ? [manifest.subject.digest] : [];
  const target = annotations[DELTA_ANNOTATION.target];
  if (target) targets.push(parseDigest(target, "Invalid delta.target digest"));
  return { sourceConfig, manifest: image, config, layers, targets, signatures, signatureContents };
}

function parseDigest(text: string, what: string): Digest {
  try {
    return Digest.parse(text);
  } catch (cause) {
    throw withContext(what, cause);
  }
}

/**
 * Reads the documents of the image that a delta makes. They are bound to each other: the manifest
 * is the one that the delta is said to be for, and the config is the manifest's.
 *
 * @throws {FormatError} when the delta holds documents of different images
 * @throws {DigestMismatchError} when a document is not what was announced
 */
export async function readDeltaTarget(
  source: ImageSource,
  delta: DeltaArtifact,
): Promise<ImageDocuments> {
  const { digest, size } = delta.manifest;
  for (const target of delta.targets) {
    if (target.equals(digest)) continue;
    throw fail(`Delta is for image ${target}, but has the manifest of ${digest}`);
  }
  const bytes = await source.document(asBlob(delta.manifest), "image manifest");
  const manifest = parseManifest(bytes);
  if (!manifest.config.digest.equals(delta.config.digest)) {
    throw fail(
      `Delta has config ${delta.config.digest}, but its manifest wants ${manifest.config.digest}`,
    );
  }
  const configBytes = await source.document(delta.config, "image config");
  const mediaType = manifest.mediaType || MANIFEST_TYPE;
  return { selected: { descriptor: { mediaType, digest, size }, bytes, manifest }, configBytes };
}

/** A document that is a layer of the delta, so that a registry has it among the blobs. */
export function asBlob(descriptor: Descriptor): Descriptor {
  return { ...descriptor, mediaType: BLOB_TYPE };
}
