/** Pulling images into a repository (spec: oci 1.4, 2.5). */
import {
  type Digest,
  type ObjectId,
  type ProgressSink,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { Platform } from "./documents.ts";
import { importImage, type PullStats } from "./image_import.ts";
import { wholeBlobs } from "./layer_supply.ts";
import { DELTA_ARTIFACT_TYPES } from "./media_types.ts";
import { openSource, type SourceOptions } from "./open_source.ts";
import { nativePlatform } from "./platform.ts";
import type { ImageSource, SelectedManifest } from "./source.ts";
import { tagRef } from "./tags.ts";

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
  /**
   * Decides whether the image may be pulled; called when its manifest is read and verified, before
   * config and layers. Throws when it may not.
   */
  admit?: (selected: SelectedManifest, source: ImageSource) => Promise<void>;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is, per layer, and about warnings. */
  progress?: ProgressSink;
}

/** What a pull came to. */
export interface PullResult {
  /** Digest of the manifest. */
  readonly manifestDigest: Digest;
  /** Digest of the manifest as the source has it, when it had to be converted. */
  readonly sourceDigest?: Digest | undefined;
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
  const { signal } = options;
  const sourceOptions: SourceOptions = { signal, repository };
  await using source = await openSource(reference, sourceOptions);
  try {
    return await pullFrom(repository, source, { ...options, tag, reference });
  } catch (cause) {
    signal?.throwIfAborted();
    throw withContext(`Unable to pull container image ${reference}`, cause);
  }
}

async function pullFrom(
  repository: Repository,
  source: ImageSource,
  options: PullOptions & { tag: string; reference: string },
): Promise<PullResult> {
  const { tag, reference, platform = nativePlatform(), jobs, repair, signal, progress } = options;
  const selected = await source.resolve({ platform });
  const { manifest, descriptor, original } = selected;
  await options.admit?.(selected, source);
  if (DELTA_ARTIFACT_TYPES.includes(manifest.artifactType ?? "")) {
    throw new UnsupportedError(`${reference} is a delta artifact; it cannot be applied yet`);
  }
  const configBytes = await source.document(manifest.config, "image config");
  const imported = await importImage(repository, { selected, configBytes }, {
    tag,
    supply: wholeBlobs(source),
    remote: source.remote,
    jobs,
    repair,
    signal,
    progress,
  });
  return {
    manifestDigest: descriptor.digest,
    ...(original === undefined ? {} : { sourceDigest: original.descriptor.digest }),
    configDigest: manifest.config.digest,
    tag,
    ...imported,
  };
}
