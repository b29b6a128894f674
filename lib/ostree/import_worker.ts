/** Worker module of the import from local repositories, and of what came from servers. */
import { handle } from "../base/mod.ts";
import { type FetchedTask, importFetched, importPart } from "./fetched_batch.ts";
import { dropImporter, importQueue, type QueueTask } from "./import_batch.ts";

handle("import-queue", (task: QueueTask, { emit }) => {
  try {
    importQueue(task, emit);
  } finally {
    dropImporter(); // the end of the thread would not give native memory back
  }
});
handle("import-part", importPart);
handle("import-large", importPart);
handle("import-fetched", (task: FetchedTask, { transfer }) => {
  const result = importFetched(task);
  transfer(result.buffer);
  return result;
});
