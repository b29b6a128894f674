/** The integrity check: metadata, objects, streams, images, references (spec: repository 9, 14.6). */
import {
  ComposefsError,
  letMessagesIn,
  type ObjectId,
  Pool,
  type ProgressSink,
} from "../base/mod.ts";
import { readDir } from "../../ffi/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { readDamageList, replaceDamage } from "./damage_list.ts";
import { findAffected } from "./fsck_affected.ts";
import { checkImages, checkStreams, Presence } from "./fsck_entries.ts";
import { checkMetadata } from "./fsck_meta.ts";
import { checkObjects, type ObjectCheckResult, type ObjectCheckTask } from "./fsck_objects.ts";
import { addError, type FsckReport, newReport, reasonOf } from "./fsck_report.ts";
import { TMP_LINK_PREFIX } from "./links.ts";
import { TMP_OBJECT_PREFIX } from "./object_write.ts";

/** How to check. */
export interface FsckOptions {
  /** Leave out objects and the content of streams. @default false */
  metadataOnly?: boolean;
  /**
   * Write down which objects are damaged, and take off that list which are not any more, so that
   * pulls heal what they use. Nothing else is ever written. @default true
   */
  remember?: boolean;
  /** Workers that hash. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is. */
  progress?: ProgressSink;
}

/** Subdirectories that this thread checks between two turns of the event loop. */
const TURN_EVERY = 8;

/** Checks a repository; writes at most the list of damaged objects. */
export async function checkRepository(
  state: RepositoryState,
  options: FsckOptions = {},
): Promise<FsckReport> {
  const report = newReport(state.hasMetadata);
  checkMetadata(state, report);
  const broken = new Set<ObjectId>();
  // Streams and images are read here while workers hash; errors are put in order of the phases.
  const links = newReport(state.hasMetadata);
  // Before anything is hashed: what is listed from now on may be damaged behind the check's back.
  const listed = readDamageList(state.root, state.algorithm);
  const objects = options.metadataOnly ? undefined : new ObjectPhase(state, options);
  try {
    const presence = new Presence(state);
    const phase = { report: links, broken, content: !options.metadataOnly, presence };
    checkStreams(state, phase);
    checkImages(state, phase);
    if (objects !== undefined) {
      report.warnings.push(...objects.warnings);
      const damaged = mergeObjects(report, await objects.finish());
      for (const id of damaged) broken.add(id);
      if (options.remember !== false) {
        try {
          replaceDamage(state, damaged, listed);
        } catch (error) {
          // The check stands all the same; whoever may write to the repository can repeat it.
          if (!(error instanceof ComposefsError)) throw error;
          const reason = reasonOf(error);
          report.warnings.push(`pulls are not told which objects are damaged: ${reason}`);
        }
      }
    }
  } finally {
    await objects?.close();
  }
  for (const { name } of readDir(state.root)) {
    if (name.startsWith(TMP_LINK_PREFIX)) {
      report.warnings.push(`${name} is a left-over temporary link`);
    }
  }
  const { errors, warnings, ok, ...counts } = links;
  Object.assign(report, {
    ...counts,
    objects_checked: report.objects_checked,
    objects_corrupted: report.objects_corrupted,
    ok: report.ok && ok,
    errors: [...report.errors, ...errors],
    warnings: [...report.warnings, ...warnings],
    affected: broken.size > 0 ? findAffected(state, broken) : [],
  });
  return report;
}

/** The check of all objects: workers do it while this thread reads names, then all of them do. */
class ObjectPhase {
  readonly #options: FsckOptions;
  readonly #warnings: string[] = [];
  readonly #pool: Pool;
  readonly #task: ObjectCheckTask | undefined;
  readonly #results: Promise<ObjectCheckResult[]>[] = [];
  #done = 0;

  constructor(state: RepositoryState, options: FsckOptions) {
    this.#options = options;
    const jobs = options.jobs ?? navigator.hardwareConcurrency;
    this.#pool = new Pool(new URL("./fsck_worker.ts", import.meta.url), { size: jobs - 1 });
    const directory = state.objects.directory;
    if (directory === undefined) return;
    const { algorithm, secure } = state;
    const cursor = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const prefixes = this.#prefixes(readDir(directory).map(({ name }) => name));
    this.#task = { dir: directory.number, algorithm, secure, prefixes, cursor };
    options.signal?.addEventListener("abort", this.#stop);
    options.progress?.({ type: "started", id: "objects", unit: "objects" });
    for (let worker = 1; worker < jobs && worker < prefixes.length; worker++) {
      const onEvent = (checked: unknown) => this.#tell(Number(checked));
      const run = this.#pool.run<ObjectCheckResult[]>("check-objects", this.#task, { onEvent });
      run.catch(() => {}); // thrown by finish()
      this.#results.push(run);
    }
  }

  /** The subdirectories in order; anything else is a warning. */
  #prefixes(names: string[]): string[] {
    return names.sort().filter((name) => {
      if (/^[0-9a-f]{2}$/.test(name)) return true;
      this.#warnings.push(
        name.startsWith(TMP_OBJECT_PREFIX)
          ? `objects/${name} is a left-over temporary file`
          : `objects/${name} is not a directory of objects`,
      );
      return false;
    });
  }

  /** Moves the shared counter to the end: every thread stops after its subdirectory. */
  readonly #stop = (): void => {
    if (this.#task === undefined) return;
    Atomics.store(new Int32Array(this.#task.cursor), 0, this.#task.prefixes.length);
  };

  #tell(checked: number): void {
    this.#done += checked;
    this.#options.progress?.({ type: "progress", id: "objects", done: this.#done });
  }

  /** Helps the workers until nothing is left; the results are in path order. */
  async finish(): Promise<ObjectCheckResult[]> {
    if (this.#task === undefined) return [];
    const results: ObjectCheckResult[] = [];
    for (const result of checkObjects(this.#task)) {
      results.push(result);
      this.#tell(result.checked);
      if (results.length % TURN_EVERY === 0) await letMessagesIn();
    }
    results.push(...(await Promise.all(this.#results)).flat());
    this.#options.signal?.throwIfAborted();
    this.#options.progress?.({ type: "done", id: "objects", transferred: this.#done });
    return results.sort((a, b) => a.index - b.index);
  }

  /** Files and directories directly below `objects/` that do not belong there. */
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /** Ends the workers. */
  async close(): Promise<void> {
    this.#stop();
    this.#options.signal?.removeEventListener("abort", this.#stop);
    await Promise.allSettled(this.#results);
    await this.#pool.close();
  }
}

/** Adds what was found; gives the objects that are damaged. */
function mergeObjects(report: FsckReport, results: ObjectCheckResult[]): ObjectId[] {
  const damaged: ObjectId[] = [];
  for (const result of results) {
    report.objects_checked += result.checked;
    report.objects_corrupted += result.corrupted;
    for (const { kind, text } of result.errors) addError(report, kind, text);
    for (const id of result.damaged) damaged.push(id);
    report.warnings.push(...result.warnings);
  }
  return damaged;
}
