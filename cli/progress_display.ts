import type { ProgressSink } from "../lib/base/mod.ts";

/** Drawing of progress; disposing of it removes the bars. */
export interface ProgressDisplay extends Disposable {
  /** Receives the events. */
  readonly sink: ProgressSink;
}
