/** Copying images between repositories (spec: oci 4.4, repository 12). */
import {
  ComposefsError,
  type Digest,
  FormatError,
  type ObjectId,
  PolicyError,
  type ProgressSink,
  withContext,
} from "../base/mod.ts";
import { forgetHealed, type Repository } from "../repository/mod.ts";
import { findHealing } from "./healing.ts";
import { type ImportedImage, importImage, type PullStats } from "./image_import.ts";
import {
  layerObject,
  listReferrers,
  type OciImage,
  openImageRef,
  openManifest,
  recordReferrer,
} from "./image.ts";
import { wantedLayers } from "./image_layers.ts";
import type { LayerSupply } from "./layer_supply.ts";
import { isSignatureLayer, MANIFEST_TYPE, tarCompression } from "../transport/mod.ts";
import { SeenAttachments } from "./kept_signatures.ts";
import { storedAttachments } from "./stored_attachments.ts";
import { contentDigest } from "./stored_layer_import.ts";
import { configStream, manifestStream, tagRef } from "./tags.ts";

/** How to copy. */
export interface CopyOptions {
  /** Tag to make in the destination. @default none */
  name?: string | undefined;
  /** Share blocks or files; fails where that cannot be. @default false */
  zerocopy?: boolean;
  /** Workers. @default navigator.hardwareConcurrency */
  jobs?: number | undefined;
  /** Copy the artifacts that refer to the image, such as its signatures, too. @default true */
  referrers?: boolean | undefined;
  /** Take what is there for damaged until it is compared. @default false */
  repair?: boolean;
  /** Gives up when aborted. */
  signal?: AbortSignal | undefined;
  /** Told how far it is, per layer, and about warnings. */
  progress?: ProgressSink | undefined;
}

/** What a copy came to. */
export interface CopyResult {
  /** Digest of the manifest. */
  readonly manifestDigest: Digest;
  /** Object id of the manifest's stream in the destination. */
  readonly manifestStream: ObjectId;
  /** Digest of the config. */
  readonly configDigest: Digest;
  /** Object id of the config's stream in the destination. */
  readonly configStream: ObjectId;
  /** Digests of the artifacts that came along. */
  readonly referrers: readonly Digest[];
  /** Counters over all layers of the image that were copied. */
  readonly stats: PullStats;
}

/**
 * Copies an image from another repository, which may have another algorithm. Layers are compared
 * with their digests on the way, and images are made anew in the formats of the destination.
 *
 * @param image an opened image of `from`, or its tag, or its manifest digest as `@sha256:…`
 * @throws {PolicyError} when `zerocopy` is asked for and the algorithms differ
 * @throws {DigestMismatchError} when the source is damaged; as a cause
 */
export async function copyImage(
  repository: Repository,
  image: OciImage | string,
  options: CopyOptions & { from: Repository },
): Promise<CopyResult> {
  const { from, name } = options;
  if (name !== undefined) tagRef(name);
  const zerocopy = options.zerocopy ?? false;
  if (zerocopy && from.algorithm.hash !== repository.algorithm.hash) {
    throw new PolicyError(
      `--zerocopy requires matching hash algorithms; source uses ${hashName(from)} but ` +
        `destination uses ${hashName(repository)}`,
    );
  }
  repository.assertWritable();
  const opened = typeof image === "string" ? openImageRef(from, image) : image;
  try {
    const imported = await importStored(repository, opened, options);
    const referrers = options.referrers === false
      ? []
      : await copyReferrers(repository, opened.manifestDigest, options);
    return {
      manifestDigest: opened.manifestDigest,
      referrers,
      configDigest: opened.configDigest,
      manifestStream: imported.manifestStream,
      configStream: repository.streamObject(configStream(opened.configDigest))!,
      stats: imported.stats,
    };
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw withContext(`Unable to copy image ${opened.manifestDigest} from ${from.path}`, cause);
  }
}

/** Copies what refers to an image that is there; what cannot be copied spoils nothing. */
async function copyReferrers(
  repository: Repository,
  subject: Digest,
  options: CopyOptions & { from: Repository },
): Promise<Digest[]> {
  const { from, signal, progress } = options;
  const warn = (text: string) => progress?.({ type: "warning", text });
  const copied: Digest[] = [];
  for (const digest of listReferrers(from, subject)) {
    try {
      const referrer = openManifest(from, digest);
      if (referrer.manifest.layers.some(({ mediaType }) => isSignatureLayer(mediaType))) {
        const signatures = new SeenAttachments(storedAttachments(from));
        await signatures.manifest({ digest, size: 0, mediaType: MANIFEST_TYPE, artifactType: "" });
        await signatures.keep(repository, subject, { warn });
        if (repository.streamObject(manifestStream(digest)) === undefined) continue;
      } else {
        // Signatures may be an index's, or beside the image by a tag; what else is here says so.
        assertRefersTo(referrer, subject);
        await importStored(repository, referrer, { ...options, name: undefined });
        recordReferrer(repository, digest, subject);
      }
      copied.push(digest);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof ComposefsError)) throw error;
      warn(`referrer ${digest} is left out: ${error.message}`);
    }
  }
  return copied;
}

/** Checks that an artifact says itself what a link in the repository says of it. */
function assertRefersTo({ manifest }: OciImage, subject: Digest): void {
  const said = manifest.subject?.digest;
  if (said !== undefined && said.equals(subject)) return;
  throw new FormatError("image manifest", `It refers to ${said ?? "nothing"}, not to ${subject}`);
}

/** As the reference writes it. */
function hashName(repository: Repository): string {
  return repository.algorithm.hash === "sha256" ? "Sha256" : "Sha512";
}

/** Imports an image of another repository. */
async function importStored(
  repository: Repository,
  image: OciImage,
  options: CopyOptions & { from: Repository },
): Promise<ImportedImage> {
  const { manifest, manifestDigest } = image;
  const { bytes } = image.manifestStream;
  const mediaType = manifest.mediaType ?? MANIFEST_TYPE;
  const descriptor = { mediaType, digest: manifestDigest, size: bytes.length };
  const selected = { descriptor, bytes: Uint8Array.from(bytes), manifest };
  const documents = { selected, configBytes: image.configStream.bytes };
  const { jobs, repair, signal, progress } = options;
  const healing = await findHealing(repository, wantedLayers(documents), options);
  const imported = await importImage(repository, documents, {
    tag: options.name,
    supply: storedLayers(image, options),
    jobs,
    repair,
    healing,
    signal,
    progress,
  });
  if (healing !== undefined) {
    forgetHealed(repository, manifestStream(manifestDigest), (text) => {
      progress?.({ type: "warning", text });
    });
  }
  return imported;
}

/** Layers as another repository has them. */
export function storedLayers(
  image: OciImage,
  options: { from: Repository; zerocopy?: boolean },
): LayerSupply {
  const { from, zerocopy = false } = options;
  const source = { root: from.directory.number, algorithm: from.algorithm, secure: from.secure };
  return ({ id, descriptor }, { pool, objects }) => {
    const object = layerObject(image, id);
    const stored = from.openStreamObject(object);
    const plain = tarCompression(descriptor.mediaType) === "none";
    const content = contentDigest({ id, blob: descriptor.digest, plain }, stored.contentType);
    return pool.import("import-stored-layer", {
      source,
      stream: object,
      name: id.toString(),
      content: content?.toString(),
      zerocopy,
      diffId: content?.toString(),
      objects,
    }, { id: id.toString(), total: Number(stored.streamSize) });
  };
}
