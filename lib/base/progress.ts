/**
 * Progress as events; drawing belongs to the command line. A component is one thing that is worked
 * on, for example one layer, and is named by `id`.
 *
 * @module
 */

/** One progress event. `skipped` may come without a `started` before it. */
export type ProgressEvent =
  | {
    readonly type: "started";
    readonly id: string;
    readonly unit: "bytes" | "objects";
    readonly total?: number;
  }
  | {
    readonly type: "progress";
    readonly id: string;
    readonly done: number;
    readonly objects?: number;
  }
  | { readonly type: "skipped"; readonly id: string }
  | { readonly type: "done"; readonly id: string; readonly transferred: number }
  | { readonly type: "message"; readonly text: string }
  | { readonly type: "warning"; readonly text: string };

/** Receives progress events; must not throw. */
export type ProgressSink = (event: ProgressEvent) => void;
