import type { TreeNotes } from "./notes.ts";
import type { Directory } from "./tree.ts";

/** The tree of one image. */
export interface FileTree {
  /** The root directory. */
  root: Directory;
  /** What the tree's dumpfile said beyond the tree; read by the `c` dialect of the writer only. */
  notes?: TreeNotes;
}
