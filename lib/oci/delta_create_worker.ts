/** Worker module of those who make deltas. */
import { handle } from "../base/mod.ts";
import { checkDiff, diffPart, indexContents, packDiff } from "./delta_make.ts";
import { scanLayer } from "./delta_scan.ts";
import { packLayer } from "./pack.ts";

handle("scan-layer", scanLayer);
handle("index-contents", indexContents);
handle("diff-part", diffPart);
handle("pack-diff", packDiff);
handle("check-diff", checkDiff);
handle("unpack-stored", packLayer);
