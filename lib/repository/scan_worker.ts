/** Worker module of scans that store contents as objects. */
import { handleScan } from "../scan/mod.ts";
import type { ObjectDirectoryOptions } from "./object_write.ts";
import { ObjectContentSink } from "./scan_sink.ts";

handleScan((options) => new ObjectContentSink(options as ObjectDirectoryOptions));
