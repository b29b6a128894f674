/** The image that a delta starts from, as the repository has it (spec: oci 7.4). */
import { NotFoundError, type ObjectId, withContext } from "../base/mod.ts";
import type { Digest } from "../base/mod.ts";
import { GeneratorView, type SourceTableMemory, treeSources } from "../delta/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import { readLayerEntries, type TarEntry } from "../tar/mod.ts";
import { type OpenConfig, openConfig } from "./image.ts";
import { LayerTreeBuilder } from "./layer_tree.ts";
import { configStream, layerStream } from "./tags.ts";

/**
 * The old image's files, in both ideas of what they are. Each is put together from the layers when
 * it is first asked for, so no EROFS image is needed.
 */
export class DeltaBase {
  /** Config digest of the image. */
  readonly config: Digest;
  readonly #repository: Repository;
  #layers: { id: Digest; object: ObjectId }[] | undefined;
  #merged: SourceTableMemory | undefined;
  #generator: SourceTableMemory | undefined;

  /** Names the image; nothing is read yet. */
  constructor(repository: Repository, config: Digest) {
    this.#repository = repository;
    this.config = config;
  }

  /** Files of the merged tree, those below `/run` too. */
  merged(): SourceTableMemory {
    if (this.#merged !== undefined) return this.#merged;
    const builder = new LayerTreeBuilder();
    this.#eachLayer((entries, id) => builder.applyLayer(entries, id.toString()));
    return this.#merged = treeSources(builder.tree);
  }

  /** Files that the released generator believes to be there. */
  generator(): SourceTableMemory {
    if (this.#generator !== undefined) return this.#generator;
    const view = new GeneratorView();
    this.#eachLayer((entries) => view.add(entries));
    return this.#generator = view.finish();
  }

  /** Whether its config is there. */
  get present(): boolean {
    return this.#repository.streamObject(configStream(this.config)) !== undefined;
  }

  /**
   * Makes sure that the image and all its layers are there.
   *
   * @throws {NotFoundError} when they are not
   */
  assertPresent(): void {
    this.#layers ??= this.#findLayers();
  }

  #eachLayer(visit: (entries: Iterable<TarEntry>, id: Digest) => void): void {
    this.assertPresent();
    for (const { id, object } of this.#layers!) {
      try {
        const contentType = CONTENT_TYPE.ociLayer;
        visit(readLayerEntries(this.#repository.openStreamObject(object, { contentType })), id);
      } catch (cause) {
        throw withContext(`Reading layer ${id} of the image that the delta is based on`, cause);
      }
    }
  }

  #findLayers(): { id: Digest; object: ObjectId }[] {
    const repository = this.#repository;
    if (!this.present) {
      throw new NotFoundError("delta base", this.config.toString(), {
        message: `The delta is based on an image with config ${this.config}, but it is not ` +
          `present in the repository. The delta cannot be applied.`,
      });
    }
    const { config, document }: OpenConfig = openConfig(repository, this.config);
    return config.diffIds.map((id) => {
      const object = document.refs.get(id.toString()) ??
        repository.streamObject(layerStream(id));
      if (object === undefined) throw new NotFoundError("layer", id.toString());
      return { id, object };
    });
  }
}
