/** Worker module of scans that only compute digests. */
import type { Algorithm } from "../base/mod.ts";
import { HashSink } from "./sink.ts";
import { handleScan } from "./worker_setup.ts";

handleScan((algorithm) => new HashSink(algorithm as Algorithm));
