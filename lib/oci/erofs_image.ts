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

/** Builds the tree of an image from its layers, oldest first. */
export function buildTree(
  repository: Repository,
  layers: readonly LayerRef[],
  options: { xattrs?: XattrMode; warn?: (text: string) => void } = {},
): FileTree {
  const builder = new LayerTreeBuilder({ warning: options.warn ?? (() => {}) });
  for (const { id, object } of layers) {
    try {
      const contentType = CONTENT_TYPE.ociLayer;
      const stream = repository.openStreamObject(object, { contentType });
      builder.applyLayer(readLayerEntries(stream), id.toString());
    } catch (cause) {
      throw withContext(`Unpacking layer ${id}`, cause);
    }
  }
  return builder.finish({ xattrs: options.xattrs ?? "allowlist-only" });
}

/** The bytes of an image in a format. */
export function imageBytes(
  repository: Repository,
  tree: FileTree,
  version: ErofsVersion,
): Uint8Array<ArrayBuffer> {
  return writeImage(tree, { version, hash: repository.algorithm.hash });
}
