/** The integrity check: metadata, objects, streams, images, references (spec: repository 9, 14.6). */
import {
  displayByteString,
  type ObjectId,
  objectPath,
  Pool,
  type ProgressSink,
} from "../base/mod.ts";
import {
  ErrnoError,
  errnoText,
  fstat,
  openIfExists,
  preadFull,
  readDir,
  statAt,
} from "../../ffi/mod.ts";
import { checkStructure, findObjectUsers, listObjects } from "../erofs/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { entryObject, listEntries } from "./entries.ts";
import type { ObjectCheckResult, ObjectCheckTask } from "./fsck_objects.ts";
import { addError, type FsckReport, newReport, reasonOf } from "./fsck_report.ts";
import { readImage } from "./images.ts";
import { readLinkText, TMP_LINK_PREFIX } from "./links.ts";
import { parseMetadata } from "./meta.ts";
import { TMP_OBJECT_PREFIX } from "./object_write.ts";
import { type Category, walkRefs } from "./refs.ts";
import { openStreamObject } from "./streams.ts";

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
    checkImages(state, { report: links, broken });
    if (objects !== undefined) await mergeObjects(report, await objects, broken);
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
    affected: [],
  });
  if (broken.size > 0) findAffected(state, report, broken);
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

interface Phase {
  readonly report: FsckReport;
  /** Collects objects that are missing or damaged. */
  readonly broken: Set<ObjectId>;
  /** Whether the content of streams is walked. */
  readonly content?: boolean;
}

/** Object sizes by id; each object is looked up once however many streams refer to it. */
class Sizes {
  readonly #state: RepositoryState;
  readonly #sizes = new Map<ObjectId, number | undefined>();

  constructor(state: RepositoryState) {
    this.#state = state;
  }

  /** Size of an object, `undefined` when it is missing. */
  of(id: ObjectId): number | undefined {
    if (!this.#sizes.has(id)) this.#sizes.set(id, this.#state.objects.size(id));
    return this.#sizes.get(id);
  }
}

function checkStreams(state: RepositoryState, phase: Phase): void {
  const { report } = phase;
  const sizes = new Sizes(state);
  for (const { name, isLink } of listEntries(state.root, "streams")) {
    report.streams_checked++;
    const before = report.errors.length;
    if (!isLink) addError(report, "entry-not-symlink", `streams/${name}`);
    else if (checkLink(state, `streams/${name}`, report)) {
      checkStream(state, name, { ...phase, sizes });
    }
    if (report.errors.length > before) report.streams_corrupted++;
  }
  checkRefs(state, "streams", report);
}

function checkStream(state: RepositoryState, name: string, phase: Phase & { sizes: Sizes }): void {
  const { report, broken, sizes } = phase;
  const path = `streams/${name}`;
  let stream;
  try {
    stream = openStreamObject(state, entryObject(state, "streams", name)!);
  } catch (error) {
    addError(report, "stream-open-failed", `${path}: Opening stream '${name}': ${reasonOf(error)}`);
    return;
  }
  for (const id of stream.objectRefs) {
    if (sizes.of(id) !== undefined) continue;
    report.missing_objects++;
    broken.add(id);
    addError(report, "missing-object-ref", `${path}: ${id}`);
  }
  for (const [ref, id] of stream.namedRefs) {
    if (sizes.of(id) !== undefined) continue;
    report.missing_objects++;
    broken.add(id);
    addError(report, "missing-named-ref", `${path}: ref ${ref}: ${id}`);
  }
  if (!phase.content) return;
  try {
    let total = 0;
    for (const chunk of stream.chunks()) {
      total += chunk.type === "inline"
        ? chunk.bytes.length
        : sizes.of(stream.objectRefs.id(chunk.index)) ?? NaN;
    }
    // NaN: an object is missing, which has been reported.
    if (!Number.isNaN(total) && BigInt(total) !== stream.streamSize) {
      addError(
        report,
        "stream-content-invalid",
        `${path}: content has ${total} bytes, the header says ${stream.streamSize}`,
      );
    }
  } catch (error) {
    addError(report, "stream-content-invalid", `${path}: ${reasonOf(error)}`);
  }
}

function checkImages(state: RepositoryState, phase: Phase): void {
  const { report } = phase;
  for (const { name, isLink } of listEntries(state.root, "images")) {
    report.images_checked++;
    const before = report.errors.length;
    if (!isLink) addError(report, "entry-not-symlink", `images/${name}`);
    else if (checkLink(state, `images/${name}`, report)) checkImage(state, name, phase);
    if (report.errors.length > before) report.images_corrupted++;
  }
  checkRefs(state, "images", report);
}

function checkImage(state: RepositoryState, name: string, phase: Phase): void {
  const { report, broken } = phase;
  const path = `images/${name}`;
  let id;
  try {
    id = entryObject(state, "images", name)!;
  } catch (error) {
    addError(report, "image-open-failed", `${path}: ${reasonOf(error)}`);
    return;
  }
  if (id !== name) addError(report, "image-name-mismatch", `${path}: leads to object ${id}`);
  try {
    const image = readImage(state, id);
    checkStructure(image);
    for (const object of listObjects(image, { hash: state.algorithm.hash })) {
      if (state.objects.size(object) !== undefined) continue;
      report.missing_objects++;
      broken.add(object);
      addError(report, "image-missing-object", `${path}: ${object}`);
    }
  } catch (error) {
    const kind = error instanceof ErrnoError ? "image-read-failed" : "image-invalid";
    addError(report, kind, `${path}: ${reasonOf(error)}`);
  }
}

/** Checks that a link leads to something; reports when it does not. */
function checkLink(state: RepositoryState, path: string, report: FsckReport): boolean {
  try {
    if (statAt(state.root, path) !== undefined) return true;
    report.broken_links++;
    addError(report, "broken-symlink", path);
  } catch (error) {
    const text = error instanceof ErrnoError ? errnoText(error.errno) : reasonOf(error);
    addError(report, "stat-failed", `${path}: ${text}`);
  }
  return false;
}

function checkRefs(state: RepositoryState, category: Category, report: FsckReport): void {
  for (const item of walkRefs(state.root, category)) {
    if (!("name" in item)) {
      addError(report, "unexpected-file-type", `${item.path}: ${item.fileType}`);
      continue;
    }
    const path = `${category}/refs/${item.name}`;
    if (!checkLink(state, path, report)) continue;
    // A reference is `..` up to its category, then the entry.
    const depth = item.name.split("/").length;
    if (item.text !== "../".repeat(depth) + item.entry) {
      addError(report, "ref-target-invalid", `${path}: ${item.text}`);
    }
  }
}

/** Says which images and streams need the damaged and missing objects. */
function findAffected(state: RepositoryState, report: FsckReport, broken: Set<ObjectId>): void {
  for (const category of ["images", "streams"] as const) {
    const refs = walkRefs(state.root, category).filter((item) => "name" in item);
    const namesOf = (entry: string) => refs.filter((r) => r.entry === entry).map((r) => r.name);
    for (const { name, isLink } of listEntries(state.root, category)) {
      if (!isLink || readLinkText(state.root, `${category}/${name}`) === undefined) continue;
      try {
        const id = entryObject(state, category, name)!;
        const user = { user: `${category}/${name}`, refs: namesOf(name) };
        if (broken.has(id)) report.affected.push({ object: id, ...user });
        else if (category === "images") {
          for (const [object, path] of findObjectUsers(readImage(state, id), broken)) {
            report.affected.push({ object, ...user, path: displayByteString(path) });
          }
        } else {
          for (const object of openStreamObject(state, id).objectRefs) {
            if (broken.has(object)) report.affected.push({ object, ...user });
          }
        }
      } catch {
        // Cannot be read: it has an error of its own in the report.
      }
    }
  }
}

/** Path of an object relative to the repository. */
export function objectFile(id: ObjectId): string {
  return `objects/${objectPath(id)}`;
}
