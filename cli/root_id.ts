/** The id that the image of a directory would have, as the compute commands print it. */
import type { Algorithm, ObjectId } from "../lib/base/mod.ts";
import type { ErofsVersion } from "../lib/erofs/mod.ts";
import type { Context } from "./context.ts";
import { imageId } from "./image_id.ts";
import { defaultsWithoutRepository, formatWithoutRepository } from "./open_repository.ts";
import { readRoot, type RootOptions } from "./scan_root.ts";

/** An id, and what it was computed for. */
export interface RootId {
  /** Object id of the image. */
  readonly id: ObjectId;
  /** Format of the image. */
  readonly version: ErofsVersion;
  /** Algorithm of the objects. */
  readonly algorithm: Algorithm;
}

/**
 * Computes the id of a root file system; needs no repository and stores nothing.
 *
 * @param context The command's context.
 * @param path The directory.
 * @param root How to transform what was read.
 * @throws {ComposefsError} when something cannot be read, or is not as a root must be
 */
export async function rootId(context: Context, path: string, root: RootOptions): Promise<RootId> {
  const defaults = defaultsWithoutRepository(context);
  const { algorithm } = defaults;
  const version = formatWithoutRepository(context, defaults);
  const tree = await readRoot(context, path, { scan: { hash: algorithm.hash }, root });
  return { id: imageId(tree, { version, algorithm }), version, algorithm };
}
