/** Pulling with deltas: applying one that is asked for, or using one that was found. */
import {
  type Digest,
  NotFoundError,
  PolicyError,
  type ProgressSink,
  UnsupportedError,
} from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { PublicKey } from "../signature/mod.ts";
import type { KeepSignatures } from "./admission.ts";
import { findHealing, type Healing } from "./healing.ts";
import { type DeltaArtifact, parseDelta, readDeltaTarget } from "./delta_artifact.ts";
import { findDelta } from "./delta_find.ts";
import { DeltaBase } from "./delta_source.ts";
import { deltaBlobs, deltaLayers, orFail } from "./delta_supply.ts";
import { type ImageDocuments, missingLayers, wantedLayers } from "./image_layers.ts";
import type { LayerSupply, WantedLayer } from "./layer_supply.ts";
import type { ImageSource, SelectedManifest } from "../transport/mod.ts";

/** Whether deltas are used: when there is a good one, never, or always. */
export type DeltaMode = "auto" | "off" | "require";

/** How deltas are used. */
export interface DeltaOptions {
  /** Whether deltas are used for images that could do without. @default "auto" */
  readonly delta?: DeltaMode | undefined;
  /** Key that has to have signed the target, in the delta itself. @default none */
  readonly verifyKey?: PublicKey | undefined;
  /** Most bytes of one layer that a delta makes. @default 64 GiB */
  readonly layerLimit?: number | undefined;
  /** Import layers that are there once more, which a delta cannot. @default false */
  readonly repair?: boolean | undefined;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Told what is done in another way than it was meant. */
  readonly progress?: ProgressSink | undefined;
  /** How layers come without a delta. */
  readonly whole: LayerSupply;
}

/** An image of a delta, and how to come by its layers. */
export interface DeltaImage {
  /** Documents of the target. */
  readonly documents: ImageDocuments;
  /** Where missing layers come from. */
  readonly supply: LayerSupply;
  /** Digest of the delta that was found for the image, when one was. */
  readonly found?: Digest | undefined;
  /** What is damaged, when anything in the repository is known to be. */
  readonly healing?: Healing | undefined;
  /** Stores the signature that was asked for, when the image is there. */
  readonly keep?: KeepSignatures | undefined;
}

/**
 * Prepares applying a delta that was asked for. A registry can have the target's own layers too:
 * those are the way out when the delta is of no use.
 *
 * @param options.selected the delta's manifest
 * @throws {NotFoundError} when the image that it starts from is not there
 * @throws {PolicyError} when it is not signed as it should be
 */
export async function openDelta(
  repository: Repository,
  source: ImageSource,
  options: DeltaOptions & { selected: SelectedManifest },
): Promise<DeltaImage> {
  const { delta: mode = "auto", layerLimit, progress } = options;
  const delta = parseDelta(options.selected.manifest);
  const documents = await readDeltaTarget(source, delta);
  const keep = options.verifyKey === undefined
    ? undefined
    : await verified(source, { ...options, delta, verifyKey: options.verifyKey });
  const whole = mode === "auto" && source.remote ? options.whole : undefined;
  const wanted = wantedLayers(documents);
  const healing = await findHealing(repository, wanted, {
    ...options,
    deltaOnly: whole === undefined,
  });
  const common = { documents, healing, keep };
  if (options.repair) {
    if (whole !== undefined) return { ...common, supply: whole };
    throw new UnsupportedError("A delta cannot repair layers, only the image itself can");
  }
  if (whole !== undefined && healing !== undefined && healing.damaged.size > 0) {
    return { ...common, supply: whole };
  }
  const { missing } = missingLayers(repository, wanted);
  const base = new DeltaBase(repository, delta.sourceConfig);
  try {
    if (missing.length > 0) base.assertPresent();
    assertObtainable(missing, deltaBlobs(delta, wanted));
  } catch (error) {
    if (whole === undefined || !(error instanceof NotFoundError)) throw error;
    progress?.({ type: "warning", text: `${error.message}; taking the whole layers` });
    return { ...common, supply: orFail(whole, error) };
  }
  const supply = deltaLayers(repository, wanted, {
    delta,
    source,
    base,
    fallback: whole,
    layerLimit,
    progress,
  });
  return { ...common, supply };
}

/** Checks the signature, and prepares storing it beside the image. */
async function verified(
  source: ImageSource,
  options: { delta: DeltaArtifact; verifyKey: PublicKey; selected: SelectedManifest },
): Promise<KeepSignatures> {
  const { delta, verifyKey, selected } = options;
  const { deltaAttachments, verifyDelta } = await import("./delta_signature.ts");
  const { SeenAttachments } = await import("./kept_signatures.ts");
  const { descriptor: { digest, size, mediaType } } = await verifyDelta(source, delta, verifyKey);
  const seen = new SeenAttachments(deltaAttachments(source, selected.manifest));
  await seen.manifest({ digest, size, mediaType, artifactType: "" });
  return (repository, warn) => seen.keep(repository, delta.manifest.digest, { warn });
}

/** Whether a delta is looked for: layers that lie beside it on a disk cost nothing to fetch. */
export function looksForDelta(
  source: ImageSource,
  options: { readonly delta?: DeltaMode | undefined; readonly repair?: boolean | undefined },
): boolean {
  const { delta: mode = "auto", repair } = options;
  return !repair && (mode === "require" || (mode === "auto" && source.remote));
}

/** Names all layers at once that neither repository nor delta have. */
function assertObtainable(
  missing: readonly WantedLayer[],
  blobs: ReadonlyMap<string, unknown>,
): void {
  const ids = new Set(missing.map(({ id }) => id.toString()).filter((id) => !blobs.has(id)));
  if (ids.size === 0) return;
  const all = [...ids].join(", ");
  const message = `Reused layer${ids.size === 1 ? "" : "s"} ${all} not found`;
  throw new NotFoundError("delta layer", all, { message });
}

/** What is thrown where a delta is required, and none is of use. */
export function noDelta(target: Digest): NotFoundError {
  return new NotFoundError("delta", target.toString(), {
    message: `No delta found that makes ${target} from an image of the repository`,
  });
}

/**
 * Looks for a delta of an image, and prepares the supply of its layers.
 *
 * @returns the supply and the digest of the delta; `undefined` when there is none to be used
 * @throws {NotFoundError} when one is required, and there is none
 */
export async function discoverDelta(
  repository: Repository,
  source: ImageSource,
  options: DeltaOptions & { documents: ImageDocuments },
): Promise<{ supply: LayerSupply; found: Digest } | undefined> {
  const { delta: mode = "auto", documents, whole, layerLimit, progress } = options;
  if (options.verifyKey !== undefined) {
    throw new PolicyError("The image is no delta, so it has no embedded signature");
  }
  if (!looksForDelta(source, options)) return undefined;
  const wanted = wantedLayers(documents);
  const { missing } = missingLayers(repository, wanted);
  if (missing.length === 0) return undefined;
  const { selected } = documents;
  const required = mode === "require";
  const request = { selected, wanted, missing, required, progress };
  const found = await findDelta(repository, source, request);
  if (found === undefined) {
    if (!required) return undefined;
    throw noDelta(selected.descriptor.digest);
  }
  const { descriptor, delta, base } = found;
  progress?.({ type: "message", text: `Applying delta ${descriptor.digest}` });
  const supply = deltaLayers(repository, wanted, {
    delta,
    source,
    base,
    others: whole,
    fallback: required ? undefined : whole,
    layerLimit,
    progress,
  });
  return { supply, found: descriptor.digest };
}
