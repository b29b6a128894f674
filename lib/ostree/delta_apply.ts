/** Applying static deltas (spec: ostree 7.4). */
import { withContext } from "../base/mod.ts";
import { type DeltaBase, type DeltaCounts, type DeltaSink, runDeltaPart } from "./delta_machine.ts";
import { openDeltaPart, type Unxz } from "./delta_part.ts";
import { Patcher } from "./delta_patch.ts";
import type { DeltaPartEntry, DeltaSuperblock } from "./delta_superblock.ts";
import { unxz } from "./delta_xz.ts";

/** Reads the files of parts. */
export interface DeltaParts {
  /** The file of a part that is not inside the superblock; at most as long as announced. */
  read(entry: DeltaPartEntry): Promise<Uint8Array>;
}

/** What applying a delta needs. */
export interface ApplyDeltaOptions {
  /** Where parts come from. */
  readonly parts: DeltaParts;
  /** File objects that it builds upon. */
  readonly base: DeltaBase;
  /** Where objects go. */
  readonly sink: DeltaSink;
  /** Decompresses parts. @default liblzma, or a package where that is missing */
  readonly unxz?: Unxz;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
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
  const decompress = options.unxz ?? unxz;
  const patcher = new Patcher();
  const read = (index: number): Promise<Uint8Array | undefined> => {
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
      const part = await openDeltaPart(entry, file, decompress);
      const counts = runDeltaPart(entry, part, { ...options, patcher });
      metadata += counts.metadata;
      files += counts.files;
    } catch (cause) {
      await next.catch(() => {}); // nothing may be under way when the failure is told
      throw withContext(`Applying part ${entry.index} of the delta to ${delta.to}`, cause);
    }
  }
  return { metadata, files };
}
