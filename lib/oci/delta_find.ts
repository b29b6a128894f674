/** Finding a delta that saves some of a pull (spec: oci 7.4). */
import { ComposefsError, type ProgressSink } from "../base/mod.ts";
import { DELTA_TYPES } from "../delta/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { type DeltaArtifact, isDelta, parseDelta } from "./delta_artifact.ts";
import { DeltaBase } from "./delta_source.ts";
import { deltaBlobs } from "./delta_supply.ts";
import {
  type Descriptor,
  type ImageSource,
  parseManifest,
  type SelectedManifest,
} from "../transport/mod.ts";
import type { WantedLayer } from "./layer_supply.ts";

/** A delta for an image that starts from one that is there. */
export interface FoundDelta {
  /** Descriptor of its manifest. */
  readonly descriptor: Descriptor;
  /** What it says. */
  readonly delta: DeltaArtifact;
  /** The image that it starts from. */
  readonly base: DeltaBase;
  /** Bytes of the blobs that missing layers need, from the delta or as they are. */
  readonly size: number;
  /** How many blobs that are. */
  readonly blobs: number;
}

/** The image that a delta is looked for. */
export interface DeltaRequest {
  /** Its manifest. */
  readonly selected: Pick<SelectedManifest, "descriptor">;
  /** All of its layers. */
  readonly wanted: readonly WantedLayer[];
  /** Those that are not there. */
  readonly missing: readonly WantedLayer[];
  /** Whether nothing is done without one. @default false */
  readonly required?: boolean | undefined;
  /** Told what is wrong with deltas that cannot be used. */
  readonly progress?: ProgressSink | undefined;
}

/** Deltas of one image that are looked at. */
const MAX_CANDIDATES = 64;

/**
 * Looks for the delta with which least has to be fetched, among those that the source says are
 * about the image.
 *
 * @returns `undefined` when none starts from an image that is there, or none saves anything
 */
export async function findDelta(
  repository: Repository,
  source: ImageSource,
  request: DeltaRequest,
): Promise<FoundDelta | undefined> {
  const { missing, selected } = request;
  if (missing.length === 0 || source.referrers === undefined) return undefined;
  // Without any image there is none that a delta could start from, and nobody needs to be asked.
  if (!repository.listStreams().some((name) => name.startsWith("oci-config-"))) return undefined;
  const { digest } = selected.descriptor;
  // Many registries know no referrers, and say so in many ways: only who insists has to know.
  const type = request.required ? "warning" : "message";
  const tell = (text: string) => request.progress?.({ type, text });
  let referrers: Descriptor[];
  try {
    referrers = await source.referrers(digest);
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    tell(`Looking for deltas of ${digest} failed: ${error.message}`);
    return undefined;
  }
  let best: FoundDelta | undefined;
  let size = missing.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const candidates = referrers.filter(({ artifactType }) =>
    !artifactType || DELTA_TYPES.includes(artifactType)
  );
  for (const descriptor of candidates.slice(0, MAX_CANDIDATES)) {
    try {
      const found = await consider(repository, source, { ...request, descriptor });
      if (found === undefined || found.size >= size) continue;
      best = found;
      size = found.size;
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      tell(`Delta ${descriptor.digest} cannot be used: ${error.message}`);
    }
  }
  return best;
}

async function consider(
  repository: Repository,
  source: ImageSource,
  request: DeltaRequest & { descriptor: Descriptor },
): Promise<FoundDelta | undefined> {
  const { descriptor, selected, wanted, missing } = request;
  const manifest = parseManifest(await source.document(descriptor, "delta manifest"));
  if (!isDelta(manifest)) return undefined;
  const delta = parseDelta(manifest);
  const { digest } = selected.descriptor;
  if (![delta.manifest.digest, ...delta.targets].every((target) => target.equals(digest))) {
    return undefined;
  }
  const base = new DeltaBase(repository, delta.sourceConfig);
  if (!base.present) return undefined;
  const fromDelta = deltaBlobs(delta, wanted);
  const blobs = new Map<string, number>();
  for (const layer of missing) {
    const blob = fromDelta.get(layer.id.toString()) ?? layer.descriptor;
    blobs.set(blob.digest.toString(), blob.size);
  }
  const size = [...blobs.values()].reduce((sum, each) => sum + each, 0);
  return { descriptor, delta, base, size, blobs: blobs.size };
}
