import { handle } from "../base/mod.ts";
import { BatchReader, type BatchResult, type FileBatch } from "./batch.ts";
import type { ContentSink } from "./sink.ts";

/** Name of the handler that reads a batch of files. */
export const READ_FILES = "scan:read-files";

/**
 * Makes the calling worker module one that a scan can use; for its top level.
 *
 * @param makeSink makes the thread's sink from {@linkcode SinkSource.argument}, once
 */
export function handleScan(makeSink: (argument: unknown) => ContentSink): void {
  let reader: BatchReader | undefined;
  handle(READ_FILES, (batch: FileBatch): BatchResult => {
    reader ??= new BatchReader(makeSink(batch.argument));
    return reader.read(batch);
  });
}
