/** Worker module of the layer import. */
import { handle } from "../base/mod.ts";
import { storeBatch } from "./batch.ts";
import { importLayer } from "./layer_import.ts";

handle("import-layer", importLayer);
handle("store-batch", storeBatch);
