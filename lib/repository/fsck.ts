/** The integrity check: metadata, objects, streams, images, references (spec: repository 9, 14.6). */
import { type ObjectId, Pool, type ProgressSink } from "../base/mod.ts";
import { fstat, openIfExists, preadFull, readDir } from "../../ffi/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { findAffected } from "./fsck_affected.ts";
import { checkImages, checkStreams } from "./fsck_entries.ts";
import type { ObjectCheckResult, ObjectCheckTask } from "./fsck_objects.ts";
import { addError, type FsckReport, newReport, reasonOf } from "./fsck_report.ts";
import { TMP_LINK_PREFIX } from "./links.ts";
import { featureList, parseMetadata, unknownReadOnlyFeatures } from "./meta.ts";
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
  const objects = options.metadataOnly ? undefined : startObjects(state, options);
  try {
    checkStreams(state, { report: links, broken, content: !options.metadataOnly });
    checkImages(state, { report: links, broken, content: !options.metadataOnly });
    if (objects !== undefined) mergeObjects(report, await objects, broken);
  } finally {
    await objects?.catch(() => {}); // its failure is thrown above; the workers must have ended
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

function checkMetadata(state: RepositoryState, report: FsckReport): void {
  using fd = openIfExists(state.root, "meta.json");
  if (fd === undefined) return;
  try {
    const bytes = new Uint8Array(Math.max(4096, fstat(fd).size));
    const meta = parseMetadata(bytes.subarray(0, preadFull(fd, bytes, 0)));
    if (meta.algorithm.id !== state.algorithm.id) {
      addError(
        report,
        "metadata-algorithm-mismatch",
        `meta.json: expected ${meta.algorithm.id}, repository opened as ${state.algorithm.hash}`,
      );
    }
    const unknown = unknownReadOnlyFeatures(meta);
    if (unknown.length > 0) {
      report.warnings.push(
        `meta.json: unknown read-only-compatible features ${featureList(unknown)}`,
      );
    }
  } catch (error) {
    addError(report, "metadata-parse-failed", `meta.json: ${reasonOf(error)}`);
  }
}

async function startObjects(
  state: RepositoryState,
  options: FsckOptions,
): Promise<ObjectCheckResult[]> {
  const directory = state.objects.directory;
  if (directory === undefined) return [];
  const results: ObjectCheckResult[] = [];
  const prefixes = readDir(directory).map((entry) => entry.name).sort();
  const strays = prefixes.filter((name) => !/^[0-9a-f]{2}$/.test(name));
  const good = prefixes.filter((name) => /^[0-9a-f]{2}$/.test(name));
  const tasks: ObjectCheckTask[] = [];
  for (let at = 0; at < good.length; at += PREFIXES_A_TASK) {
    tasks.push({
      dir: directory.number,
      algorithm: state.algorithm,
      secure: state.secure,
      prefixes: good.slice(at, at + PREFIXES_A_TASK),
    });
  }
  const warnings = strays.map((name) =>
    name.startsWith(TMP_OBJECT_PREFIX)
      ? `objects/${name} is a left-over temporary file`
      : `objects/${name} is not a directory of objects`
  );
  results.push({ checked: 0, corrupted: 0, errors: [], damaged: [], warnings, bytes: 0 });
  if (tasks.length === 0) return results;
  await using pool = new Pool(new URL("./fsck_worker.ts", import.meta.url), {
    depth: 2,
    ...(options.jobs === undefined ? {} : { size: options.jobs }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  options.progress?.({ type: "started", id: "objects", unit: "objects" });
  let done = 0;
  for await (const result of pool.map<ObjectCheckTask, ObjectCheckResult>("check-objects", tasks)) {
    results.push(result);
    done += result.checked;
    options.progress?.({ type: "progress", id: "objects", done });
  }
  options.progress?.({ type: "done", id: "objects", transferred: done });
  return results;
}

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
