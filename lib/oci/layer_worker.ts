/** Worker module of the layer import. */
import { handle } from "../base/mod.ts";
import { storeBatch } from "./batch.ts";
import { LAYER_HANDLERS, type LayerHandler } from "./layer_handlers.ts";

for (const name of Object.keys(LAYER_HANDLERS) as LayerHandler[]) {
  handle(name, LAYER_HANDLERS[name]);
}
handle("store-batch", storeBatch);
