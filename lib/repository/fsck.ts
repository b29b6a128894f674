/** The integrity check: metadata, objects, streams, images, references (spec: repository 9, 14.6). */
import { letMessagesIn, type ObjectId, Pool, type ProgressSink } from "../base/mod.ts";
import { readDir } from "../../ffi/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { findAffected } from "./fsck_affected.ts";
import { checkImages, checkStreams, Presence } from "./fsck_entries.ts";
import { checkMetadata } from "./fsck_meta.ts";
import { checkObjects, type ObjectCheckResult, type ObjectCheckTask } from "./fsck_objects.ts";
import { addError, type FsckReport, newReport } from "./fsck_report.ts";
import { TMP_LINK_PREFIX } from "./links.ts";
import { TMP_OBJECT_PREFIX } from "./object_write.ts";

/** How to check. */
export interface FsckOptions {
  /** Leave out objects and the content of streams. @default false */
  metadataOnly?: boolean;
  /** Workers that hash. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is. */
  progress?: ProgressSink;
}

/** Subdirectories of `objects/` that one task takes. */
const PREFIXES_A_TASK = 8;

/** Checks a repository; never writes. */
export async function checkRepository(
  state: RepositoryState,
  options: FsckOptions = {},
): Promise<FsckReport> {
  const report = newReport(state.hasMetadata);
  checkMetadata(state, report);
  const broken = new Set<ObjectId>();
  // Streams and images are read here while workers hash; errors are put in order of the phases.
  const links = newReport(state.hasMetadata);
  const objects = options.metadataOnly ? undefined : new ObjectPhase(state, options);
  try {
    const presence = new Presence(state);
    const phase = { report: links, broken, content: !options.metadataOnly, presence };
    checkStreams(state, phase);
    checkImages(state, phase);
    if (objects !== undefined) mergeObjects(report, await objects.finish(), broken);
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
  readonly #results: Promise<ObjectCheckResult>[] = [];
  readonly #pool: Pool;
  readonly #tasks: ObjectCheckTask[] = [];
  #done = 0;

  constructor(state: RepositoryState, options: FsckOptions) {
    this.#options = options;
    const jobs = options.jobs ?? navigator.hardwareConcurrency;
    this.#pool = new Pool(new URL("./fsck_worker.ts", import.meta.url), {
      depth: 2,
      size: jobs - 1,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const directory = state.objects.directory;
    if (directory === undefined) return;
    const { algorithm, secure } = state;
    const prefixes: string[] = [];
    for (const { name } of readDir(directory).sort((a, b) => a.name < b.name ? -1 : 1)) {
      if (/^[0-9a-f]{2}$/.test(name)) prefixes.push(name);
      else if (!name.startsWith(TMP_OBJECT_PREFIX)) {
        this.#warnings.push(`objects/${name} is not a directory of objects`);
      } else this.#warnings.push(`objects/${name} is a left-over temporary file`);
    }
    for (let at = 0; at < prefixes.length; at += PREFIXES_A_TASK) {
      const part = prefixes.slice(at, at + PREFIXES_A_TASK);
      this.#tasks.push({ dir: directory.number, algorithm, secure, prefixes: part });
    }
    options.progress?.({ type: "started", id: "objects", unit: "objects" });
    if (jobs < 2) return;
    for (const task of this.#tasks.splice(0)) {
      const result = this.#pool.run<ObjectCheckResult>("check-objects", task);
      result.then((r) => this.#tell(r), () => {}); // a failure is thrown by finish()
      this.#results.push(result);
    }
  }

  #tell(result: ObjectCheckResult): void {
    this.#done += result.checked;
    this.#options.progress?.({ type: "progress", id: "objects", done: this.#done });
  }

  /** Helps the workers until nothing is left; the results are in path order. */
  async finish(): Promise<ObjectCheckResult[]> {
    // Between two tasks the workers' results are let in, so that they get their next ones.
    while (this.#pool.steal(checkObjects)) {
      await letMessagesIn();
    }
    const results = await Promise.all(this.#results);
    for (const task of this.#tasks) {
      results.push(checkObjects(task));
      this.#tell(results.at(-1)!);
    }
    this.#options.progress?.({ type: "done", id: "objects", transferred: this.#done });
    return [{ ...EMPTY_RESULT, warnings: this.#warnings }, ...results];
  }

  /** Ends the workers. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#results);
    await this.#pool.close();
  }
}

const EMPTY_RESULT: ObjectCheckResult = {
  checked: 0,
  corrupted: 0,
  errors: [],
  damaged: [],
  warnings: [],
  bytes: 0,
};

function mergeObjects(
  report: FsckReport,
  results: ObjectCheckResult[],
  broken: Set<ObjectId>,
): void {
  for (const result of results) {
    report.objects_checked += result.checked;
    report.objects_corrupted += result.corrupted;
    for (const { kind, text } of result.errors) addError(report, kind, text);
    for (const id of result.damaged) broken.add(id);
    report.warnings.push(...result.warnings);
  }
}
