/** What a pull would have to fetch, told without fetching it (spec: oci 7.4). */
import { type Digest, NotFoundError, type ProgressSink } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { type ChunkedForecast, forecastChunked } from "./chunked_layer.ts";
import { ContentCache } from "./content_cache.ts";
import { type DeltaArtifact, isDelta, parseDelta, readDeltaTarget } from "./delta_artifact.ts";
import { findDelta } from "./delta_find.ts";
import { findHealing, type Healing } from "./healing.ts";
import { type DeltaMode, looksForDelta, noDelta } from "./delta_pull.ts";
import { DeltaBase } from "./delta_source.ts";
import { deltaBlobs } from "./delta_supply.ts";
import { completeImage, type ImageDocuments, missingLayers, wantedLayers } from "./image_layers.ts";
import type { WantedLayer } from "./layer_supply.ts";
import { type Descriptor, type ImageSource, nativePlatform, openSource } from "../transport/mod.ts";
import type { PullOptions } from "./pull.ts";
import { targetName } from "./target_name.ts";

/** A way to come by the missing layers. */
export interface PlannedWay {
  /** Blobs to fetch. */
  readonly blobs: number;
  /** Their size in bytes, without what an interrupted pull has left. */
  readonly bytes: number;
}

/** A delta that would do. */
export interface PlannedDelta extends PlannedWay {
  /** Digest of its manifest. */
  readonly digest: Digest;
}

/** A layer of the image. */
export interface PlannedLayer {
  /** diff_id, or digest of an artifact's blob. */
  readonly id: Digest;
  /** Digest of its blob. */
  readonly digest: Digest;
  /** Size of the blob in bytes. */
  readonly size: number;
  /** Whether the repository has it. */
  readonly present: boolean;
  /** Bytes of the blob that an interrupted pull has left. */
  readonly held: number;
  /** What fetching it in parts takes; `undefined` when it would not be. */
  readonly parts?: ChunkedForecast | undefined;
  /** Size of the delta's blob that it would be made from, in bytes. */
  readonly delta?: number | undefined;
}

/** What a pull would do. */
export interface PullPlan {
  /** Digest of the manifest that would be stored. */
  readonly manifestDigest: Digest;
  /** Digest of the manifest as the source has it, when it would be converted. */
  readonly sourceDigest?: Digest | undefined;
  /** Digest of the config. */
  readonly configDigest: Digest;
  /** The layers, oldest first. */
  readonly layers: readonly PlannedLayer[];
  /** Whether the image is there, with all it needs. */
  readonly complete: boolean;
  /** With whole layers; `undefined` when the source has only a delta. */
  readonly full?: PlannedWay | undefined;
  /** With layers in parts where that pays; `undefined` when it pays for none, or a delta is used. */
  readonly parts?: PlannedWay | undefined;
  /** With the best delta; `undefined` when there is none. */
  readonly delta?: PlannedDelta | undefined;
  /** Which way the pull would go. */
  readonly way: "none" | "full" | "parts" | "delta";
  /** Bytes that can still be written to the repository's file system. */
  readonly available: number;
}

/**
 * Tells what {@linkcode pullImage} would do with the same options. Only documents are read; nothing
 * is written.
 *
 * @throws as the pull would before it fetches layers
 */
export async function planPull(
  repository: Repository,
  reference: string,
  options: PullOptions = {},
): Promise<PullPlan> {
  const { signal, platform = nativePlatform(), registry } = options;
  await using source = await openSource(reference, { ...registry, signal, repository });
  const selected = await source.resolve({ platform });
  await options.admit?.(selected, source);
  const { original } = selected;
  const delta = isDelta(selected.manifest) ? parseDelta(selected.manifest) : undefined;
  const documents = delta === undefined
    ? { selected, configBytes: await source.document(selected.manifest.config, "image config") }
    : await readDeltaTarget(source, delta);
  if (options.nameFromTarget && options.name === undefined) {
    targetName(documents.selected.manifest);
  }
  const healing = await healingOf(repository, source, {
    options,
    wanted: wantedLayers(documents),
    isDelta: delta !== undefined,
  });
  const heals = healing !== undefined && healing.damaged.size > 0;
  const need = needOf(repository, source, { documents, repair: options.repair, healing });
  const { missing, wanted } = need;
  const full = delta === undefined || source.remote ? wayOf(source, missing) : undefined;
  let planned: PlannedDelta | undefined;
  let blobs: ReadonlyMap<string, Descriptor> = new Map();
  if (delta !== undefined) {
    const usable = missing.length === 0 ||
      isUsable(repository, source, { mode: options.delta, delta, progress: options.progress });
    if (usable && !heals) {
      blobs = deltaBlobs(delta, wanted);
      planned = { ...deltaWay(blobs, missing), digest: selected.descriptor.digest };
    }
  } else if (!heals && looksForDelta(source, options) && missing.length > 0) {
    const { progress } = options;
    const required = options.delta === "require";
    const found = await findDelta(repository, source, {
      selected: documents.selected,
      wanted,
      missing,
      required,
      progress,
    });
    if (found !== undefined) {
      planned = { blobs: found.blobs, bytes: found.size, digest: found.descriptor.digest };
      blobs = deltaBlobs(found.delta, wanted);
    } else if (required) throw noDelta(documents.selected.descriptor.digest);
  }
  const { descriptor, manifest } = documents.selected;
  const forecasts = planned === undefined && full !== undefined
    ? await forecast(repository, source, { ...options, missing, healing })
    : new Map<WantedLayer, ChunkedForecast>();
  const parts = forecasts.size === 0 ? undefined : partsWay(source, missing, forecasts);
  const way = planned !== undefined ? "delta" : parts !== undefined ? "parts" : "full";
  return {
    manifestDigest: descriptor.digest,
    ...(original === undefined ? {} : { sourceDigest: original.descriptor.digest }),
    configDigest: manifest.config.digest,
    layers: need.layers.map((layer, i) => {
      const found = forecasts.get(wanted[i]!);
      if (found !== undefined) return { ...layer, parts: found };
      const blob = layer.present ? undefined : blobs.get(layer.id.toString());
      return blob === undefined ? layer : { ...layer, delta: blob.size };
    }),
    complete: need.complete,
    full,
    parts,
    delta: planned,
    way: missing.length === 0 ? "none" : way,
    available: repository.available,
  };
}

/** What is damaged of the image, and would be healed. */
async function healingOf(
  repository: Repository,
  source: ImageSource,
  request: { options: PullOptions; wanted: readonly WantedLayer[]; isDelta: boolean },
): Promise<Healing | undefined> {
  const { options, wanted, isDelta } = request;
  const { delta: mode = "auto", repair, signal, progress } = options;
  const deltaOnly = isDelta ? mode !== "auto" || !source.remote : mode === "require";
  return await findHealing(repository, wanted, { repair, deltaOnly, signal, progress });
}

/**
 * Whether the image that a delta starts from is there.
 *
 * @throws {NotFoundError} when it is not, and a pull would have no whole layers to take
 */
function isUsable(
  repository: Repository,
  source: ImageSource,
  options: {
    delta: DeltaArtifact;
    mode: DeltaMode | undefined;
    progress: ProgressSink | undefined;
  },
): boolean {
  const { delta, mode = "auto", progress } = options;
  try {
    new DeltaBase(repository, delta.sourceConfig).assertPresent();
    return true;
  } catch (error) {
    if (mode !== "auto" || !source.remote || !(error instanceof NotFoundError)) throw error;
    progress?.({ type: "warning", text: `${error.message}; whole layers would be taken` });
    return false;
  }
}

/** What can be fetched in parts; only tables are fetched for this. */
async function forecast(
  repository: Repository,
  source: ImageSource,
  options: PullOptions & {
    missing: readonly WantedLayer[];
    healing: Healing | undefined;
  },
): Promise<Map<WantedLayer, ChunkedForecast>> {
  const { partial = "auto", repair, healing, missing } = options;
  const out = new Map<WantedLayer, ChunkedForecast>();
  if (partial === "never" || repair || (partial === "auto" && !source.remote)) return out;
  const signal = options.signal ?? new AbortController().signal;
  const contents = new ContentCache(repository, { except: healing?.suspects });
  for (const layer of missing) {
    const found = await forecastChunked(source, layer, { contents, signal });
    if (!("reason" in found)) out.set(layer, found);
  }
  return out;
}

function partsWay(
  source: ImageSource,
  missing: readonly WantedLayer[],
  forecasts: ReadonlyMap<WantedLayer, ChunkedForecast>,
): PlannedWay {
  const whole = wayOf(source, missing.filter((layer) => !forecasts.has(layer)));
  let { blobs, bytes } = whole;
  for (const { fetchBytes } of forecasts.values()) {
    blobs++;
    bytes += fetchBytes;
  }
  return { blobs, bytes };
}

interface Need {
  readonly wanted: WantedLayer[];
  readonly missing: WantedLayer[];
  readonly layers: PlannedLayer[];
  readonly complete: boolean;
}

function needOf(
  repository: Repository,
  source: ImageSource,
  options: {
    documents: ImageDocuments;
    repair: boolean | undefined;
    healing: Healing | undefined;
  },
): Need {
  const { documents, repair = false } = options;
  const damaged = options.healing?.damaged;
  const wanted = wantedLayers(documents);
  const { present, missing } = missingLayers(repository, wanted, { repair, damaged });
  const layers = wanted.map(({ id, descriptor }) => ({
    id,
    digest: descriptor.digest,
    size: descriptor.size,
    present: present.has(id.toString()),
    held: present.has(id.toString()) ? 0 : source.held?.(descriptor) ?? 0,
  }));
  const complete = !repair &&
    completeImage(repository, documents, { wanted, damaged }) !== undefined;
  return { wanted, missing, layers, complete };
}

function wayOf(source: ImageSource, missing: readonly WantedLayer[]): PlannedWay {
  const blobs = new Map(
    missing.map(({ descriptor }) => [descriptor.digest.toString(), descriptor]),
  );
  let bytes = 0;
  for (const descriptor of blobs.values()) {
    bytes += descriptor.size - (source.held?.(descriptor) ?? 0);
  }
  return { blobs: blobs.size, bytes };
}

function deltaWay(
  blobs: ReadonlyMap<string, Descriptor>,
  missing: readonly WantedLayer[],
): PlannedWay {
  const needed = new Map<string, number>();
  for (const { id } of missing) {
    const blob = blobs.get(id.toString());
    if (blob !== undefined) needed.set(blob.digest.toString(), blob.size);
  }
  return { blobs: needed.size, bytes: [...needed.values()].reduce((sum, size) => sum + size, 0) };
}
