/** Worker module of what goes out of a repository: packing layers. */
import { handle } from "../base/mod.ts";
import { packLayer } from "./pack.ts";

handle("pack-layer", packLayer);
