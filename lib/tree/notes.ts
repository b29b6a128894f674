import type { ByteString } from "../base/mod.ts";
import type { Directory, Leaf } from "./tree.ts";

/**
 * What a dumpfile said about a leaf that the tree itself does not keep, because the format's rules
 * derive it. Only the writer's `c` dialect reads it (spec: erofs 6).
 */
export interface LeafNotes {
  /** Link count as written in the file, where it is not 1. */
  nlink?: number;
  /**
   * Target of the overlay redirect without its leading slash, where it is not the path of the
   * digest; `null` when the file has a digest but no payload.
   */
  redirect?: ByteString | null;
  /** Directory that holds the name that was written in full, when there are further names. */
  ownerDirectory?: Directory;
  /** That name. */
  ownerName?: ByteString;
}

/** Notes by leaf; leaves that need none are not in it. */
export type TreeNotes = Map<Leaf, LeafNotes>;
