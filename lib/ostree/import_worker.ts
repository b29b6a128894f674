/** Worker module of the import from local repositories. */
import { handle } from "../base/mod.ts";
import { importBatch } from "./import_batch.ts";

handle("import-files", importBatch);
