/** The EROFS images of a container image (spec: oci 3, 1.4). */
import { type Digest, type ObjectId, withContext } from "../base/mod.ts";
import { type ErofsVersion, writeImage } from "../erofs/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import { readLayerEntries } from "../tar/mod.ts";
import type { FileTree, XattrMode } from "../tree/mod.ts";
import { LayerTreeBuilder } from "./layer_tree.ts";

/** A layer of an image: its identity and the object of its stream. */
export interface LayerRef {
  /** diff_id. */
  readonly id: Digest;
  /** Object id of the layer's splitstream. */
  readonly object: ObjectId;
}

/** How a tree is built. */
export interface ImageTreeOptions {
  /** Extended attributes that stay. @default "allowlist-only" */
  xattrs?: XattrMode;
  /** Told what is odd but allowed. */
  warn?: (text: string) => void;
}

/** The tree of an image while its layers are put on top of each other, oldest first. */
export class ImageTree {
  readonly #repository: Repository;
  readonly #options: ImageTreeOptions;
  readonly #builder: LayerTreeBuilder;

  /** Starts with an empty tree. */
  constructor(repository: Repository, options: ImageTreeOptions = {}) {
    this.#repository = repository;
    this.#options = options;
    this.#builder = new LayerTreeBuilder({ warning: options.warn ?? (() => {}) });
  }

  /** Puts the next layer on top. */
  add({ id, object }: LayerRef): void {
    try {
      const contentType = CONTENT_TYPE.ociLayer;
      const stream = this.#repository.openStreamObject(object, { contentType });
      this.#builder.applyLayer(readLayerEntries(stream), id.toString());
    } catch (cause) {
      throw withContext(`Unpacking layer ${id}`, cause);
    }
  }

  /** The finished tree. */
  finish(): FileTree {
    return this.#builder.finish({ xattrs: this.#options.xattrs ?? "allowlist-only" });
  }
}

/** Builds the tree of an image from its layers, oldest first. */
export function buildTree(
  repository: Repository,
  layers: readonly LayerRef[],
  options: ImageTreeOptions = {},
): FileTree {
  const tree = new ImageTree(repository, options);
  for (const layer of layers) tree.add(layer);
  return tree.finish();
}

/** The bytes of an image in a format. */
export function imageBytes(
  repository: Repository,
  tree: FileTree,
  version: ErofsVersion,
): Uint8Array<ArrayBuffer> {
  return writeImage(tree, { version, hash: repository.algorithm.hash });
}
