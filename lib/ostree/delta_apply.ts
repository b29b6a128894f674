/** Applying static deltas (spec: ostree 7.4). */
import { type ProgressSink, withContext } from "../base/mod.ts";
import { runDeltaPart } from "./delta_machine.ts";
import type { DeltaBase, DeltaCounts, DeltaSink } from "./delta_sink.ts";
import { openDeltaPart, type PartFileContent } from "./delta_part.ts";
import { Patcher } from "./delta_patch.ts";
import type { DeltaPartEntry, DeltaSuperblock } from "./delta_superblock.ts";
import type { OpenScratch } from "./delta_xz.ts";

/** Reads the files of parts. */
export interface DeltaParts {
  /** The file of a part that is not inside the superblock: in memory, or opened for the caller. */
  read(entry: DeltaPartEntry): Promise<PartFileContent>;
}

/** What applying a delta needs. */
export interface ApplyDeltaOptions {
  /** Where parts come from. */
  readonly parts: DeltaParts;
  /** File objects that it builds upon. */
  readonly base: DeltaBase;
  /** Where objects go. */
  readonly sink: DeltaSink;
  /** Opens an unnamed file, for parts that are too large to be in memory. */
  readonly scratch: OpenScratch;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
  /** Told how far it is. */
  readonly progress?: ProgressSink;
}

/**
 * Runs all parts of a delta, one after the other; the next one is read meanwhile. Each object was
 * checked when the sink has it. The commit itself is in the superblock, not among them.
 *
 * @throws {FormatError} when a part is malformed or makes more than announced
 * @throws {DigestMismatchError} when a part or an object is not the one that was announced
 * @throws {NotFoundError} when the base lacks an object
 */
export async function applyDelta(
  delta: DeltaSuperblock,
  options: ApplyDeltaOptions,
): Promise<DeltaCounts> {
  const patcher = new Patcher();
  const id = `delta to ${delta.to}`;
  const total = delta.parts.reduce((sum, { size }) => sum + size, 0);
  options.progress?.({ type: "started", id, unit: "bytes", total });
  let done = 0;
  const read = (index: number): Promise<PartFileContent | undefined> => {
    const entry = delta.parts[index];
    if (entry === undefined || entry.inline !== undefined) return Promise.resolve(undefined);
    const file = options.parts.read(entry);
    // Awaited in its turn; until then a failure is no surprise.
    file.catch(() => {});
    return file;
  };
  let metadata = 0;
  let files = 0;
  let next = read(0);
  for (const entry of delta.parts) {
    options.signal?.throwIfAborted();
    const file = await next;
    next = read(entry.index + 1);
    try {
      using open = await openDeltaPart(entry, file, options.scratch);
      const counts = runDeltaPart(entry, open.part, { ...options, patcher });
      metadata += counts.metadata;
      files += counts.files;
      options.progress?.({ type: "progress", id, done: done += entry.size });
    } catch (cause) {
      // Nothing may be under way, or open, when the failure is told.
      closeFile(await next.catch(() => undefined));
      throw withContext(`Applying part ${entry.index} of the delta to ${delta.to}`, cause);
    }
  }
  options.progress?.({ type: "done", id, transferred: total });
  return { metadata, files };
}

function closeFile(file: PartFileContent | undefined): void {
  if (file !== undefined && !(file instanceof Uint8Array)) file.close();
}
