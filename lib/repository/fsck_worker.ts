/** Worker module of the integrity check. */
import { handle } from "../base/mod.ts";
import { checkObjects, type ObjectCheckResult, type ObjectCheckTask } from "./fsck_objects.ts";

/** Subdirectories between two messages about how far it is. */
const TELL_EVERY = 8;

handle("check-objects", (task: ObjectCheckTask, { emit }): ObjectCheckResult[] => {
  const results: ObjectCheckResult[] = [];
  let untold = 0;
  for (const result of checkObjects(task)) {
    results.push(result);
    untold += result.checked;
    if (results.length % TELL_EVERY !== 0) continue;
    emit(untold);
    untold = 0;
  }
  emit(untold);
  return results;
});
