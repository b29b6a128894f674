/** Layers from a delta (spec: oci 7.3, 7.4). */
import {
  ComposefsError,
  DigestMismatchError,
  FormatError,
  NotFoundError,
  type ProgressSink,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import { DELTA_SOURCE_FORMAT, type SourceTableMemory, TAR_DIFF_TYPE } from "../delta/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { DeltaArtifact } from "./delta_artifact.ts";
import type { DeltaBase } from "./delta_source.ts";
import { type Descriptor, type ImageSource, tarCompression } from "../transport/mod.ts";
import {
  blobTask,
  type LayerSupply,
  type SuppliedLayer,
  type SupplyContext,
  supplyFromBlob,
  type WantedLayer,
} from "./layer_supply.ts";
import { nameLayer } from "./register.ts";

/** Default of {@linkcode DeltaSupplyOptions.layerLimit}. */
const LAYER_LIMIT = 64 * 2 ** 30;
/** Blobs of a delta that are on disk at a time while they come over a network. */
const REMOTE_BLOBS = 2;

/** How layers are made from a delta. */
export interface DeltaSupplyOptions {
  /** What the delta's manifest says. */
  readonly delta: DeltaArtifact;
  /** Where the delta's blobs are. */
  readonly source: ImageSource;
  /** The image that it starts from. */
  readonly base: DeltaBase;
  /**
   * Comes by layers that the delta does not have.
   *
   * @default none: the old image has to have them
   */
  readonly others?: LayerSupply | undefined;
  /**
   * Comes by layers that the delta has but fails to give.
   *
   * @default none
   */
  readonly fallback?: LayerSupply | undefined;
  /**
   * Most bytes of one layer.
   *
   * @default {64 GiB}
   */
  readonly layerLimit?: number | undefined;
  /** Told why a layer is come by in another way. */
  readonly progress?: ProgressSink | undefined;
}

/**
 * Layers from a delta's blobs: patched from the old image's files, or the original layer where that
 * was smaller.
 *
 * @param wanted all layers of the target: equal ones are in a delta only once
 */
export function deltaLayers(
  repository: Repository,
  wanted: readonly WantedLayer[],
  options: DeltaSupplyOptions,
): LayerSupply {
  const supply = new DeltaSupply(repository, wanted, options);
  return (layer, context) => supply.get(layer, context);
}

/** Blobs of a delta by the diff_id of the layer that they make. */
export function deltaBlobs(
  delta: DeltaArtifact,
  wanted: readonly WantedLayer[],
): Map<string, Descriptor> {
  const blobs = new Map<string, Descriptor>();
  for (const { id, descriptor } of wanted) {
    const blob = delta.layers.get(descriptor.digest.toString());
    if (blob !== undefined && !blobs.has(id.toString())) blobs.set(id.toString(), blob);
  }
  return blobs;
}

/** Lets a number of tasks in at a time. */
class Lanes {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

class DeltaSupply {
  readonly #repository: Repository;
  readonly #options: DeltaSupplyOptions;
  readonly #blobs: ReadonlyMap<string, Descriptor>;
  /** Layers that were made or are being made, by diff_id. */
  readonly #made = new Map<string, Promise<SuppliedLayer>>();
  #lanes: Lanes | undefined;

  constructor(
    repository: Repository,
    wanted: readonly WantedLayer[],
    options: DeltaSupplyOptions,
  ) {
    this.#repository = repository;
    this.#options = options;
    this.#blobs = deltaBlobs(options.delta, wanted);
  }

  get(layer: WantedLayer, context: SupplyContext): Promise<SuppliedLayer> {
    const key = layer.id.toString();
    let made = this.#made.get(key);
    if (made === undefined) this.#made.set(key, made = this.#get(layer, context));
    return made;
  }

  async #get(layer: WantedLayer, context: SupplyContext): Promise<SuppliedLayer> {
    const { others, fallback, progress } = this.#options;
    const blob = this.#blobs.get(layer.id.toString());
    if (blob === undefined) {
      if (others !== undefined) return await others(layer, context);
      throw new NotFoundError("delta layer", layer.id.toString(), {
        message: `Reused layer ${layer.id} not found`,
      });
    }
    try {
      if (!this.#options.source.remote) return await this.#make(layer, blob, context);
      this.#lanes ??= new Lanes(Math.min(REMOTE_BLOBS, context.pool.threads));
      return await this.#lanes.run(() => this.#make(layer, blob, context));
    } catch (cause) {
      context.signal.throwIfAborted();
      const error = withContext(`Reconstructing layer ${layer.id}`, cause);
      if (fallback === undefined) throw error;
      progress?.({
        type: "warning",
        text: `${error.message} failed (${reason(cause)}); taking the whole layer`,
      });
      return await orFail(fallback, error)(layer, context);
    }
  }

  async #make(
    layer: WantedLayer,
    descriptor: Descriptor,
    context: SupplyContext,
  ): Promise<SuppliedLayer> {
    const { signal, pool, objects } = context;
    signal.throwIfAborted();
    const { mediaType } = descriptor;
    const tar = tarCompression(mediaType);
    if (mediaType !== TAR_DIFF_TYPE && tar === undefined) {
      throw new UnsupportedError(`Unsupported layer media type: ${mediaType}`);
    }
    const { source, base, layerLimit = LAYER_LIMIT } = this.#options;
    const shown = { id: layer.id.toString(), total: descriptor.size };
    const imported = await supplyFromBlob(source, descriptor, {
      signal,
      work: (blob) => {
        const task = {
          blob: blobTask(blob),
          digest: descriptor.digest.toString(),
          diffId: layer.id.toString(),
          objects,
        };
        if (mediaType !== TAR_DIFF_TYPE) {
          return pool.import("import-layer", { ...task, tar }, shown);
        }
        pool.warm();
        const patch = (files: SourceTableMemory) =>
          pool.import("apply-delta", { ...task, files, limit: layerLimit }, shown);
        return patch(base.merged()).catch((error) => {
          signal.throwIfAborted();
          if (!isAboutFiles(error)) throw error;
          // What is wrong with the true files says more than what is wrong with the others.
          return patch(base.generator()).catch(() => Promise.reject(error));
        });
      },
    });
    if (source.remote) {
      // Named now, so that its blob need not be kept until the other layers are there.
      nameLayer(this.#repository, { id: layer.id, object: imported.stream });
      const { release, ...named } = imported;
      release?.();
      return named;
    }
    return imported;
  }
}

/** A second way to come by layers; where they are not to be had, it is the first one that failed. */
export function orFail(supply: LayerSupply, failure: unknown): LayerSupply {
  return async (layer, context) => {
    try {
      return await supply(layer, context);
    } catch (error) {
      context.signal.throwIfAborted();
      throw error instanceof ComposefsError && error.code === "CFS_NOT_FOUND" ? failure : error;
    }
  };
}

/** Whether an error could come from a wrong idea of the old image's files. */
function isAboutFiles(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof FormatError && (at.format === DELTA_SOURCE_FORMAT || at.format === "tar")) {
      return true;
    }
    if (at instanceof DigestMismatchError && at.what === "layer") return true;
  }
  return false;
}

/** The innermost message of an error. */
function reason(error: unknown): string {
  let text = String(error);
  for (let at = error; at instanceof Error; at = at.cause) text = at.message;
  return text;
}
