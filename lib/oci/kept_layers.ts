/** Layers that are stored and wait for their names, with what is kept for them meanwhile. */
import type { Repository } from "../repository/mod.ts";
import type { LayerRef } from "./erofs_image.ts";
import type { SuppliedLayer } from "./layer_supply.ts";
import { nameLayers } from "./register.ts";

/** Most bytes of downloads that are kept beside the layers made of them. */
const MAX_KEPT = 256 * 1024 * 1024;

/**
 * What was downloaded for a layer stays until the layer has its name: were it gone before, somebody
 * who is interrupted would have to fetch it once more. When that becomes too much, layers get their
 * names before the image does.
 */
export class KeptLayers {
  readonly #repository: Repository;
  readonly #limit: number;
  #layers: (LayerRef & { readonly supplied: SuppliedLayer })[] = [];
  #bytes = 0;

  /** Keeps nothing yet. */
  constructor(repository: Repository, options: { limit?: number } = {}) {
    this.#repository = repository;
    this.#limit = options.limit ?? MAX_KEPT;
  }

  /** Takes a layer that was stored; `bytes` is the size of its blob. */
  add(layer: LayerRef, supplied: SuppliedLayer, bytes: number): void {
    if (supplied.release === undefined) return;
    this.#layers.push({ ...layer, supplied });
    this.#bytes += bytes;
    if (this.#bytes <= this.#limit) return;
    nameLayers(this.#repository, this.#layers);
    this.release();
  }

  /** Gives up what is kept: the layers have their names. */
  release(): void {
    for (const { supplied } of this.#layers) supplied.release?.();
    this.#layers = [];
    this.#bytes = 0;
  }
}
