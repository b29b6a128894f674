/** Worker module of the integrity check. */
import { handle } from "../base/mod.ts";
import { checkObjects } from "./fsck_objects.ts";

handle("check-objects", checkObjects);
