/** Exporting a stored commit to a local OSTree repository (spec: ostree 5, export). */
import {
  displayByteString,
  type ProgressSink,
  UnsupportedError,
  utf8ByteString,
  withContext,
} from "../base/mod.ts";
import {
  type Fd,
  mkdirAt,
  O,
  openAt,
  openOrMakeDir,
  renameAt,
  syncfs,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import { fileEntry } from "./commit_tree.ts";
import { parseDirMeta } from "./dirmeta.ts";
import { type ExportBatch, exportFiles } from "./export_files.ts";
import { fileBatches, workOnBatches } from "./file_batches.ts";
import { LocalRepository } from "./local_repository.ts";
import { notCanonical, ObjectFiles, type WriteOutcome } from "./object_files.ts";
import { type ReachableObject, reachableObjects } from "./reachable.ts";
import { checkRef } from "./ref_names.ts";
import { openCommit, readDetachedMetadata, type StoredCommit } from "./stored_commit.ts";

/** How to export. */
export interface ExportOptions {
  /** Ref to set in the destination. */
  reference?: string;
  /** Threads. @default one for each of up to four processors when there is much to do */
  jobs?: number;
  /** Told how far it is. */
  progress?: ProgressSink;
}

/** What an export came to. */
export interface ExportResult {
  /** Objects that were written. */
  readonly written: number;
  /** Objects that were there. */
  readonly present: number;
  /** Files whose blocks are shared with the composefs repository. */
  readonly cloned: number;
}

/** What progress is called. */
const PROGRESS = "export";

/**
 * Exports a commit: files first, then directories, the commit when all that it needs is there and
 * durable, and the ref last. Every object is checked while it is written.
 *
 * @param path an existing repository of any mode
 * @throws {DigestMismatchError} when a stored object is damaged
 * @throws {UnsupportedError} when the destination cannot hold a file's owner, mode or attributes
 */
export async function exportCommit(
  repository: Repository,
  commit: Checksum,
  options: ExportOptions & { path: string },
): Promise<ExportResult> {
  const { reference } = options;
  if (reference !== undefined) checkRef(reference);
  using destination = LocalRepository.open(options.path);
  const stored = openCommit(repository, commit);
  const objects = [...reachableObjects(commit, (checksum) => stored.chunk.get(checksum))];
  if (destination.mode === "bare-user-only") checkCanonical(objects);
  const root = destination.directory;
  using objectsDir = openOrMakeDir(root, "objects", 0o775);
  using tmp = openOrMakeDir(root, "tmp", 0o775);
  const exporter = new Exporter(repository, { directory: objectsDir, tmp, destination }, options);
  options.progress?.({ type: "started", id: PROGRESS, unit: "objects", total: objects.length });
  await exporter.files(objects);
  // Children come before their parents, the commit is the first of the list.
  for (const object of objects.reverse()) {
    if (object.kind === "dirtree" || object.kind === "dirmeta") exporter.metadata(object);
  }
  syncfs(root);
  exporter.commit(stored);
  // A commit that was incomplete there is complete now.
  unlinkAt(root, `state/${commit}.commitpartial`);
  if (reference !== undefined) writeRef(root, tmp, { reference, commit });
  syncfs(root);
  options.progress?.({ type: "done", id: PROGRESS, transferred: exporter.result.written });
  return exporter.result;
}

/** The destination's directories. */
interface Destination {
  readonly directory: Fd;
  readonly tmp: Fd;
  readonly destination: LocalRepository;
}

class Exporter {
  readonly #repository: Repository;
  readonly #to: Destination;
  readonly #files: ObjectFiles;
  readonly #options: ExportOptions;
  readonly result = { written: 0, present: 0, cloned: 0 };

  constructor(repository: Repository, to: Destination, options: ExportOptions) {
    this.#repository = repository;
    this.#to = to;
    this.#files = new ObjectFiles(to.directory, { tmp: to.tmp, mode: to.destination.mode });
    this.#options = options;
  }

  /** Writes all file objects. */
  async files(objects: readonly ReachableObject[]): Promise<void> {
    const gone = objects.find(({ entry }) => entry === undefined);
    if (gone !== undefined) throw missing(gone);
    const { directory, tmp, destination: { mode } } = this.#to;
    const place = { directory: directory.number, tmp: tmp.number, mode };
    const { batches, large } = fileBatches(this.#repository, objects);
    const tasks = batches.map((batch): ExportBatch => ({ ...batch, ...place }));
    const results = workOnBatches("export-files", { batches: tasks, large }, {
      work: exportFiles,
      jobs: this.#options.jobs,
    });
    for await (const outcomes of results) for (const outcome of outcomes) this.#count(outcome);
  }

  /** Writes a directory or what it says about itself. */
  metadata({ kind, checksum, entry, path }: ReachableObject): void {
    try {
      // Names of attributes without NUL cannot be exported.
      if (kind === "dirmeta") parseDirMeta(entry!.data);
      this.#count(this.#files.metadata(checksum, kind, entry!.data));
    } catch (cause) {
      throw withContext(
        `Exporting ${kind} object ${checksum} of ${displayByteString(path)}`,
        cause,
      );
    }
  }

  #count(outcome: WriteOutcome): void {
    if (outcome === "present") this.result.present++;
    else this.result.written++;
    if (outcome === "cloned") this.result.cloned++;
    const done = this.result.written + this.result.present;
    this.#options.progress?.({ type: "progress", id: PROGRESS, done });
  }

  commit(stored: StoredCommit): void {
    const { checksum } = stored;
    const detached = readDetachedMetadata(this.#repository, stored);
    if (detached !== undefined) this.#files.metadata(checksum, "commitmeta", detached);
    this.#count(this.#files.metadata(checksum, "commit", stored.chunk.get(checksum)!.data));
  }
}

function missing({ kind, checksum, path }: ReachableObject): UnsupportedError {
  return new UnsupportedError(`Missing ${kind} object ${checksum} of ${displayByteString(path)}`);
}

/** Checks before anything is written that files and directories are as bare-user-only has them. */
function checkCanonical(objects: readonly ReachableObject[]): void {
  for (const { kind, checksum, entry, path } of objects) {
    if (entry === undefined) continue;
    const fault = kind === "file"
      ? notCanonical(fileEntry(checksum, entry).header)
      : kind === "dirmeta"
      ? directoryFault(entry.data)
      : undefined;
    if (fault === undefined) continue;
    throw new UnsupportedError(
      `cannot export to bare-user-only: ${displayByteString(path)} ${fault}`,
    );
  }
}

function directoryFault(bytes: Uint8Array): string | undefined {
  const { uid, gid, mode, xattrs } = parseDirMeta(bytes, { bareXattrNames: true });
  if (uid !== 0) return `has uid ${uid}`;
  if (gid !== 0) return `has gid ${gid}`;
  if (xattrs.size > 0) return "has extended attributes";
  const bits = mode & 0o7777;
  return (bits & ~0o775) === 0 ? undefined : `has mode 0${bits.toString(8)}`;
}

/** Sets a ref below `refs/heads` in one step. */
function writeRef(
  root: Fd,
  tmp: Fd,
  { reference, commit }: { reference: string; commit: Checksum },
): void {
  const parts = `refs/heads/${reference}`.split("/");
  for (let i = 1; i < parts.length; i++) mkdirAt(root, parts.slice(0, i).join("/"), 0o775);
  const name = `cfs-ref-${Deno.pid}-${Date.now()}`;
  {
    const flags = O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW;
    using fd = openAt(tmp, name, { flags, mode: 0o644 });
    const bytes = new Uint8Array(128);
    const text = utf8ByteString(`${commit}\n`);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    writeAll(fd, bytes.subarray(0, text.length));
  }
  try {
    renameAt(tmp, name, root, parts.join("/"));
  } catch (error) {
    unlinkAt(tmp, name);
    throw error;
  }
}
