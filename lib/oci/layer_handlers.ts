/** What the layer worker can do, by name: each way to come by the bytes of a layer is a handler. */
import type { TaskContext } from "../base/mod.ts";
import type { ChunkedTask } from "./chunked_import.ts";
import type { DeltaTask } from "./delta_apply.ts";
import { type ImportedLayer, importLayer, type LayerTask } from "./layer_import.ts";
import type { StoredLayerTask } from "./stored_layer_import.ts";

/** Tasks by handler. */
export interface LayerTasks {
  /** A layer from its blob. */
  readonly "import-layer": LayerTask;
  /** A layer from a tar-diff and an old image's files. */
  readonly "apply-delta": DeltaTask;
  /** A layer from another repository. */
  readonly "import-stored-layer": StoredLayerTask;
  /** A layer from its tar-split, what is there already, and parts of its blob. */
  readonly "import-chunked": ChunkedTask;
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
  "apply-delta": async (task, context, beforeWait) => {
    const { applyDelta } = await import("./delta_apply.ts");
    return await applyDelta(task, context, beforeWait);
  },
  "import-stored-layer": async (task, context, beforeWait) => {
    const { importStoredLayer } = await import("./stored_layer_import.ts");
    return await importStoredLayer(task, context, beforeWait);
  },
  "import-chunked": async (task, context, beforeWait) => {
    const { importChunked } = await import("./chunked_import.ts");
    return await importChunked(task, context, beforeWait);
  },
};
