/** What the layer worker can do, by name: each way to come by the bytes of a layer is a handler. */
import type { TaskContext } from "../base/mod.ts";
import {
  type ImportedLayer,
  importLayer,
  type LayerTarget,
  type LayerTask,
} from "./layer_import.ts";

/** Tasks by handler. */
export interface LayerTasks {
  /** A layer from its blob. */
  readonly "import-layer": LayerTask;
}

/** Name of a handler. */
export type LayerHandler = keyof LayerTasks;

/** The handlers. `beforeWait` is called before a thread blocks until another one is done. */
export const LAYER_HANDLERS: {
  readonly [H in LayerHandler]: (
    task: LayerTasks[H],
    context: TaskContext,
    beforeWait?: () => void,
  ) => Promise<ImportedLayer>;
} = {
  "import-layer": importLayer,
};

/** Any task of a layer. */
export type AnyLayerTask = LayerTarget & LayerTasks[LayerHandler];
