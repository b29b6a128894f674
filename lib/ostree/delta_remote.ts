/** Static deltas on servers: found, chosen and applied to a pull (spec: ostree 7.1, 7.5). */
import { ComposefsError, FormatError, NotFoundError, type ProgressSink } from "../base/mod.ts";
import type { Fd } from "../../ffi/mod.ts";
import { type Checksum, checksumFromBytes, checksumOf } from "./checksum.ts";
import { commitStreamName } from "./commit_names.ts";
import type { MetadataEntries } from "./commit_object.ts";
import { objectSizes } from "./commit_sizes.ts";
import type { DeltaParts } from "./delta_apply.ts";
import {
  deltaIndexPath,
  deltaPath,
  type ListedDelta,
  listedDeltas,
  parseDeltaIndex,
} from "./delta_names.ts";
import { MAX_PART_SIZE } from "./delta_part.ts";
import { applyDeltaToPull, openDeltaScratch } from "./delta_pull.ts";
import {
  type DeltaEnvelope,
  type DeltaSuperblock,
  MAX_SUPERBLOCK_SIZE,
  OBJECT_ENTRY_SIZE,
  openDeltaEnvelope,
  parseDeltaSuperblock,
} from "./delta_superblock.ts";
import { corruptedObject } from "./object_kind.ts";
import type { DeltaResult, PullTask } from "./pull.ts";

/** Parts that are larger come into files. */
const IN_MEMORY = 8 * 1024 * 1024;
/** Largest list of deltas, in bytes. */
const MAX_INDEX = 16 * 1024 * 1024;
/** What a request costs besides what it brings, in bytes. */
const REQUEST_COST = 512;
/** Superblocks that are looked at to find the smallest delta. */
const MAX_CANDIDATES = 8;

/** A server with static deltas. */
export interface DeltaServer {
  /**
   * A file below the repository; `undefined` when it is not there.
   *
   * @param options.maxSize largest size in bytes
   * @param options.content whether it is where the objects are
   */
  readFile(
    path: string,
    options: { maxSize: number; content?: boolean },
  ): Promise<Uint8Array | undefined>;
  /**
   * Writes a file below the repository into an open one; false when it is not there.
   *
   * @param options.maxSize largest size in bytes
   * @param options.content whether it is where the objects are
   */
  fetchFile(
    path: string,
    options: { into: Fd; maxSize: number; content?: boolean },
  ): Promise<boolean>;
  /** The repository's summary, which may list deltas. */
  summary(): Promise<{ readonly metadata: MetadataEntries } | undefined>;
}

/** How deltas of a server are used. */
export interface ServerDeltaOptions {
  /** Fail when there is no delta that can be used. @default false */
  readonly require?: boolean;
  /** Checks signatures over the superblock; throws to refuse it. */
  readonly verify?: (envelope: DeltaEnvelope) => void | Promise<void>;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
  /** Told how far it is, and when a delta cannot be used. */
  readonly progress?: ProgressSink;
}

/**
 * Brings the objects of a commit from the smallest delta whose base is stored. A delta that cannot
 * be used is a warning, unless one is required: objects are then fetched one by one. So they are,
 * without a warning, when the commit tells their sizes and they are less than the delta.
 *
 * @returns what to give to a pull as its `delta`
 */
export function deltaFromServer(
  server: DeltaServer,
  options: ServerDeltaOptions = {},
): (task: PullTask) => Promise<DeltaResult | undefined> {
  return async (task) => {
    try {
      const delta = await chooseDelta(server, task, options);
      if (delta !== undefined) {
        return await applyDeltaToPull(delta, partsOf(server, delta, task), {
          task,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
          ...(options.progress === undefined ? {} : { progress: options.progress }),
        });
      }
    } catch (error) {
      const final = options.require === true || options.signal?.aborted === true;
      // What a policy forbids is not made better by another way of fetching the same.
      if (final || !(error instanceof ComposefsError) || error.code === "CFS_POLICY") throw error;
      options.progress?.({ type: "warning", text: `delta not used: ${innermost(error)}` });
      return undefined;
    }
    if (options.require !== true) return undefined;
    const { checksum } = task.arrived;
    const message = `Static deltas required, but none found to ${checksum}`;
    throw new NotFoundError("static delta", checksum, { message });
  };
}

function innermost(error: Error): string {
  let at = error;
  while (at.cause instanceof Error) at = at.cause;
  return at.message;
}

async function chooseDelta(
  server: DeltaServer,
  task: PullTask,
  options: ServerDeltaOptions,
): Promise<DeltaSuperblock | undefined> {
  const listed = await findDeltas(server, task.arrived.checksum);
  const usable = listed.filter(({ from }) => from !== undefined && isStored(task, from));
  // With something to build upon, a whole copy is more than the objects that differ.
  const whole = usable.length === 0 && !hasBase(task)
    ? listed.filter(({ from }) => from === undefined)
    : [];
  let best: DeltaSuperblock | undefined;
  for (const candidate of [...usable, ...whole].slice(0, MAX_CANDIDATES)) {
    const delta = await readSuperblock(server, candidate, options);
    if (delta.from === undefined && isMostlyThere(task, delta)) continue;
    if (best === undefined || delta.totalSize < best.totalSize) best = delta;
  }
  const objects = best === undefined || options.require === true ? undefined : objectsCost(task);
  return objects !== undefined && objects < best!.totalSize ? undefined : best;
}

/** Bytes to fetch without a delta; `undefined` when the commit does not tell. */
function objectsCost({ arrived, bases }: PullTask): number | undefined {
  const missing = objectSizes(arrived.commit)?.filter(({ checksum }) =>
    (bases.metadata(checksum) ?? bases.file(checksum)) === undefined
  );
  return missing?.reduce((sum, { packed }) => sum + packed + REQUEST_COST, 0);
}

function isStored(task: PullTask, commit: Checksum): boolean {
  return task.repository.streamObject(commitStreamName(commit)) !== undefined;
}

function hasBase({ arrived, bases }: PullTask): boolean {
  const { parent, rootTree } = arrived.commit;
  return parent !== undefined && bases.add(parent) || bases.metadata(rootTree) !== undefined;
}

/** Whether more than half of a delta's objects are in stored commits. */
function isMostlyThere({ bases }: PullTask, delta: DeltaSuperblock): boolean {
  let all = 0;
  let there = 0;
  for (const { objects } of delta.parts) {
    for (let at = 0; at < objects.length; at += OBJECT_ENTRY_SIZE, all++) {
      const checksum = checksumFromBytes(objects.subarray(at + 1, at + OBJECT_ENTRY_SIZE));
      if (bases.metadata(checksum) ?? bases.file(checksum)) there++;
    }
  }
  return 2 * there > all;
}

async function findDeltas(server: DeltaServer, to: Checksum): Promise<ListedDelta[]> {
  const summary = await server.summary();
  const fromSummary = summary === undefined ? [] : listedDeltas(summary.metadata);
  const found = fromSummary.filter((delta) => delta.to === to);
  if (found.length > 0) return found;
  const index = await server.readFile(deltaIndexPath(to), { maxSize: MAX_INDEX });
  if (index === undefined) return [];
  return parseDeltaIndex(index).filter((delta) => delta.to === to);
}

async function readSuperblock(
  server: DeltaServer,
  listed: ListedDelta,
  options: ServerDeltaOptions,
): Promise<DeltaSuperblock> {
  const path = `${deltaPath(listed)}/superblock`;
  const bytes = await server.readFile(path, { maxSize: MAX_SUPERBLOCK_SIZE });
  if (bytes === undefined) throw new NotFoundError("static delta", path);
  const actual = checksumOf(bytes);
  if (actual !== listed.superblock) {
    throw new FormatError(
      "ostree delta",
      `Invalid checksum for static delta ${path}: expected ${listed.superblock}, got ${actual}`,
    );
  }
  const envelope = openDeltaEnvelope(bytes);
  await options.verify?.(envelope);
  const delta = parseDeltaSuperblock(envelope.superblock);
  if (delta.to !== listed.to) throw corruptedObject("commit", listed.to, delta.to);
  if (delta.from !== listed.from) {
    throw new FormatError("ostree delta", `Delta ${path} starts from ${delta.from ?? "nothing"}`);
  }
  return delta;
}

function partsOf(
  server: DeltaServer,
  delta: DeltaSuperblock,
  { repository }: PullTask,
): DeltaParts {
  const directory = deltaPath(delta);
  return {
    read: async (entry) => {
      const path = `${directory}/${entry.index}`;
      const options = { maxSize: Math.min(entry.size, MAX_PART_SIZE), content: true };
      if (entry.size <= IN_MEMORY) {
        const bytes = await server.readFile(path, options);
        if (bytes !== undefined) return bytes;
      } else {
        using cleanup = new DisposableStack();
        const into = cleanup.use(await openDeltaScratch(repository));
        if (await server.fetchFile(path, { ...options, into })) {
          cleanup.move();
          return into;
        }
      }
      throw new NotFoundError("delta part", path);
    },
  };
}
