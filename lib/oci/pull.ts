/** Pulling images into a repository (spec: oci 1.4, 2.5). */
import {
  type Digest,
  NotFoundError,
  type ObjectId,
  type ProgressSink,
  withContext,
} from "../base/mod.ts";
import { forgetHealed, type Repository } from "../repository/mod.ts";
import type { Admission } from "./admission.ts";
import type { PublicKey } from "../signature/mod.ts";
import { type LayerReport, partialLayers, type PartialMode } from "./chunked_supply.ts";
import { isDelta } from "./delta_artifact.ts";
import {
  type DeltaImage,
  type DeltaMode,
  type DeltaOptions,
  discoverDelta,
  openDelta,
} from "./delta_pull.ts";
import {
  formatPlatform,
  type ImageSource,
  isImageConfigType,
  nativePlatform,
  openSource,
  parseConfig,
  type Platform,
  platformRank,
  type RegistryAccess,
  type SelectedManifest,
  type SourceOptions,
} from "../transport/mod.ts";
import { findHealing } from "./healing.ts";
import { importImage, type PullStats } from "./image_import.ts";
import { type ImageDocuments, missingLayers, wantedLayers } from "./image_layers.ts";
import { wholeBlobs } from "./layer_supply.ts";
import { assertRoom } from "./room.ts";
import { manifestStream, tagRef } from "./tags.ts";
import { targetName } from "./target_name.ts";

/** Shortest pause before another try that is worth a message, in milliseconds. */
const TOLD_PAUSE = 1000;

/** How to pull. */
export interface PullOptions {
  /** Tag to make. @default the image reference as given */
  name?: string;
  /**
   * Make the tag that the image's own manifest asks for (`org.opencontainers.image.ref.name`), which
   * in a delta is the target's. Has no effect with `name`. @default false
   */
  nameFromTarget?: boolean;
  /** Platform to choose from an index. @default the one this program runs on */
  platform?: Platform;
  /** Workers. @default navigator.hardwareConcurrency */
  jobs?: number;
  /**
   * Import layers that are there already once more and compare every object with what it should
   * be, which replaces damaged ones. What a check has found damaged is replaced without this, too.
   *
   * @default false
   */
  repair?: boolean;
  /**
   * Whether layers are made from a delta between an image that is there and this one: `auto` uses
   * the one with which least has to be fetched, if it helps, and takes whole layers when it fails;
   * `require` does nothing without one. A reference to a delta is applied in any case.
   *
   * @default {"auto"}
   */
  delta?: DeltaMode;
  /** Key that must have made one of the signatures in the delta. @default none */
  verifyKey?: PublicKey;
  /** Most bytes of one layer that a delta makes. @default 64 GiB */
  layerLimit?: number;
  /**
   * Put back zeros at the end of layers that a faulty zstd:chunked encoder has dropped; with them
   * the layer is the one that the config means. @default false
   */
  repairPadding?: boolean;
  /**
   * Whether only those parts of zstd:chunked layers are fetched that the repository lacks: `auto`
   * where the source is remote and it pays, `require` or else fail, `never`. Not with `repair`.
   *
   * @default {"auto"}
   */
  partial?: PartialMode;
  /**
   * Decides whether the image may be pulled, before its config and layers are read. A delta's target
   * is what matters: its signatures are in the delta, unless a key was named that had to make them.
   */
  admit?: Admission;
  /** How registries are talked to. */
  registry?: RegistryAccess;
  /** Refuse an image that is not what it claims to be, or claims nothing. @default false */
  requireSeal?: boolean;
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
  /** Whether the reference led to a delta; the image is the one that it makes. */
  readonly fromDelta: boolean;
  /** Id of the image in the repository's default format; `undefined` for artifacts. */
  readonly image: ObjectId | undefined;
  /** Counters over all layers that were imported. */
  readonly stats: PullStats;
  /** How the layers came that were not there. */
  readonly layers: readonly LayerReport[];
  /**
   * Digest of the delta that was found for the image and applied; warnings tell of layers that it
   * was of no use for. `undefined` without one, and where the reference is a delta itself.
   */
  readonly delta?: Digest | undefined;
}

/**
 * Pulls an image: every digest is checked before anything gets a name; objects are durable before
 * names are made; the tag comes last.
 *
 * @param reference as of {@linkcode openSource}
 * @throws {InvalidNameError} for a bad tag or reference; nothing was read then
 * @throws {PolicyError} when the repository cannot be written to; nothing was read then
 * @throws {NotFoundError} when there is no such image, or none for the platform, or it says no name
 * and is to be called by that
 * @throws {DigestMismatchError} when the content is not what was announced; as a cause
 */
export async function pullImage(
  repository: Repository,
  reference: string,
  options: PullOptions = {},
): Promise<PullResult> {
  const tag = options.name ?? (options.nameFromTarget ? undefined : reference);
  if (tag !== undefined) tagRef(tag);
  repository.assertWritable();
  const { signal, progress, registry } = options;
  const opened: SourceOptions = {
    ...registry,
    http: {
      onRetry({ reason, pause }) {
        if (pause < TOLD_PAUSE) return;
        const text = `${reason.message}; next try in ${Math.round(pause / 1000)} s`;
        progress?.({ type: "message", text });
      },
      ...registry?.http,
    },
    signal,
    repository,
  };
  await using source = await openSource(reference, opened);
  try {
    return await pullFrom(repository, source, { ...options, tag });
  } catch (cause) {
    signal?.throwIfAborted();
    const message = `Unable to pull container image ${reference}`;
    throw withContext(message, cause, { detail: "pull-failed" });
  }
}

async function pullFrom(
  repository: Repository,
  source: ImageSource,
  options: PullOptions & { tag: string | undefined },
): Promise<PullResult> {
  const { platform = nativePlatform(), jobs, repair, signal, progress } = options;
  const selected = await source.resolve({ platform });
  const { manifest, original } = selected;
  const delta = isDelta(manifest);
  let keep = delta ? undefined : await options.admit?.(selected, source);
  const layers: LayerReport[] = [];
  const whole = partialLayers(source, wholeBlobs(source), {
    mode: repair ? "never" : options.partial ?? "auto",
    repository,
    progress,
    report: (layer) => layers.push(layer),
  });
  const { documents, supply, found, healing, keep: keepVerified } = delta
    ? await openDelta(repository, source, { ...options, whole, selected })
    : await openImage(repository, source, { ...options, whole, selected });
  if (delta && options.verifyKey === undefined) {
    const { deltaAttachments } = await import("./delta_signature.ts");
    keep = await options.admit?.(documents.selected, source, {
      stored: deltaAttachments(source, manifest),
    });
  }
  const tag = options.tag ?? targetName(documents.selected.manifest);
  const imported = await importImage(repository, documents, {
    tag,
    supply,
    remote: source.remote,
    jobs,
    repair,
    healing,
    repairPadding: options.repairPadding,
    requireSeal: options.requireSeal,
    signal,
    progress,
  });
  const warn = (text: string) => progress?.({ type: "warning", text });
  for (const one of [keepVerified, keep]) await one?.(repository, warn);
  // Last of all: until then it does no harm that the next pull looks once more.
  if (healing !== undefined) {
    forgetHealed(repository, manifestStream(documents.selected.descriptor.digest), warn);
  }
  return {
    manifestDigest: documents.selected.descriptor.digest,
    ...(original === undefined ? {} : { sourceDigest: original.descriptor.digest }),
    configDigest: documents.selected.manifest.config.digest,
    tag,
    fromDelta: delta,
    ...imported,
    layers,
    ...(found === undefined ? {} : { delta: found }),
  };
}

/** The documents of an image, and a delta's layers where there is a good one. */
async function openImage(
  repository: Repository,
  source: ImageSource,
  options: DeltaOptions & { selected: SelectedManifest; platform?: Platform },
): Promise<DeltaImage> {
  const { selected, whole } = options;
  const configBytes = await source.document(selected.manifest.config, "image config");
  const documents = { selected, configBytes };
  if (source.remote && selected.index === undefined) checkPlatform(documents, options);
  const wanted = wantedLayers(documents);
  const deltaOnly = options.delta === "require";
  const healing = await findHealing(repository, wanted, { ...options, deltaOnly });
  const damaged = healing?.damaged;
  const repair = options.repair === true || (damaged !== undefined && damaged.size > 0);
  const delta = await discoverDelta(repository, source, { ...options, documents, repair });
  if (delta === undefined && source.remote) {
    const { missing } = missingLayers(repository, wanted, { repair: options.repair, damaged });
    assertRoom(repository, source, missing);
  }
  return { documents, supply: whole, healing, ...delta };
}

/**
 * Looks whether the only manifest that there is to choose is for the platform.
 *
 * @throws {NotFoundError} when a platform was asked for, and it is another one
 */
function checkPlatform(
  { selected, configBytes }: ImageDocuments,
  options: { platform?: Platform; progress?: ProgressSink | undefined },
): void {
  if (!isImageConfigType(selected.manifest.config.mediaType)) return;
  const config = parseConfig(configBytes);
  const { platform = nativePlatform(), progress } = options;
  if (config.architecture === "" || platformRank(platform, config) !== undefined) return;
  const found = formatPlatform(config);
  if (options.platform === undefined) {
    progress?.({ type: "warning", text: `the image is for ${found}` });
    return;
  }
  throw new NotFoundError("manifest", selected.descriptor.digest.toString(), {
    message: `No manifest found for platform ${formatPlatform(platform)}; available: ${found}`,
  });
}
