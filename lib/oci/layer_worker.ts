/** Worker module of the layer import. */
import { handle, type TaskContext } from "../base/mod.ts";
import { storeBatch } from "./batch.ts";
import { LAYER_HANDLERS, type LayerHandler } from "./layer_handlers.ts";

for (const name of Object.keys(LAYER_HANDLERS) as LayerHandler[]) {
  // Each is given the tasks that were submitted for it.
  handle(name, LAYER_HANDLERS[name] as (task: never, context: TaskContext) => unknown);
}
handle("store-batch", storeBatch);
