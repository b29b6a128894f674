/** Checking stored commits object by object (spec: ostree 5). */
import {
  ComposefsError,
  displayByteString,
  type ObjectId,
  type ProgressSink,
} from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import { parseCommit } from "./commit_object.ts";
import { commitTree, storedImageId } from "./commit_tree.ts";
import { parseDirMeta } from "./dirmeta.ts";
import { parseDirTree } from "./dirtree.ts";
import { checkFiles } from "./check_files.ts";
import { type FileBatch, fileBatches, workOnBatches } from "./file_batches.ts";
import { corruptedObject } from "./object_kind.ts";
import { type ReachableObject, reachableObjects } from "./reachable.ts";
import { openCommit, type StoredCommit } from "./stored_commit.ts";
import { rememberDamage } from "./suspects.ts";

/** What checking a commit came to. */
export interface CommitFsckReport {
  /** The commit. */
  readonly commit: Checksum;
  /** Objects that were checked. */
  readonly objects: number;
  /** What is wrong; empty for a sound commit. */
  readonly errors: readonly string[];
  /** What is odd but does no harm. */
  readonly warnings: readonly string[];
}

/** How commits are checked. */
export interface CheckCommitOptions {
  /** Threads. @default one for each of up to four processors when there is much to do */
  readonly jobs?: number;
  /** Told how far it is. */
  readonly progress?: ProgressSink;
}

/**
 * Checks every object that a stored commit needs, its contents included, and its image. Objects
 * that are damaged are written down, so that the next pull heals them.
 */
export async function checkStoredCommit(
  repository: Repository,
  commit: Checksum,
  options: CheckCommitOptions = {},
): Promise<CommitFsckReport> {
  const errors: string[] = [];
  const warnings: string[] = [];
  let stored: StoredCommit;
  try {
    stored = openCommit(repository, commit);
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return { commit, objects: 0, errors: [chain(error)], warnings };
  }
  const objects = [...reachableObjects(commit, (checksum) => stored.chunk.get(checksum))];
  const faults = await findFaults(repository, objects, options);
  const suspicious: ObjectId[] = [];
  for (const { kind, checksum, path, entry } of objects) {
    const fault = faults.get(checksum);
    if (fault === undefined) continue;
    if (entry?.external !== undefined) suspicious.push(entry.external);
    const at = path === "" ? "" : ` (${displayByteString(path)})`;
    errors.push(`${kind} object ${checksum}${at}: ${fault}`);
  }
  const spare = stored.chunk.count - objects.length;
  if (spare > 0) warnings.push(`commit ${commit} stores ${spare} objects that it does not need`);
  if (errors.length === 0) {
    errors.push(...imageFaults(repository, stored));
    if (errors.length > 0 && stored.image !== undefined) suspicious.push(stored.image);
  }
  rememberDamage(repository, { checksum: commit, objects: suspicious }, (text) => {
    warnings.push(text);
  });
  return { commit, objects: objects.length, errors, warnings };
}

/** What progress is called. */
const PROGRESS = "fsck";

/** What is wrong with objects, by checksum. */
async function findFaults(
  repository: Repository,
  objects: readonly ReachableObject[],
  { jobs, progress }: CheckCommitOptions,
): Promise<Map<Checksum, string>> {
  const faults = new Map<Checksum, string>();
  progress?.({ type: "started", id: PROGRESS, unit: "objects", total: objects.length });
  let done = 0;
  for (const object of objects) {
    if (object.kind === "file" && object.entry !== undefined) continue;
    done++;
    try {
      checkMetadata(object);
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      faults.set(object.checksum, error.message);
    }
  }
  const files = fileBatches(repository, objects);
  const results = workOnBatches<FileBatch, (string | undefined)[]>("check-files", files, {
    work: checkFiles,
    jobs,
  });
  let batch = 0;
  for await (const messages of results) {
    const { files: checked } = files.batches[batch++]!;
    messages.forEach((message, i) => {
      if (message !== undefined) faults.set(checked[i]!.checksum, message);
    });
    done += checked.length;
    progress?.({ type: "progress", id: PROGRESS, done });
  }
  progress?.({ type: "done", id: PROGRESS, transferred: done });
  return faults;
}

function checkMetadata({ kind, checksum, entry }: ReachableObject): void {
  if (entry === undefined) throw new ComposefsError("CFS_NOT_FOUND", "missing");
  const actual = checksumOf(entry.data);
  if (actual !== checksum) throw corruptedObject(kind, checksum, actual);
  if (kind === "dirtree") parseDirTree(entry.data);
  else if (kind === "dirmeta") parseDirMeta(entry.data, { bareXattrNames: true });
  else parseCommit(entry.data);
}

/** Whether the stored image is the one that the commit's objects give. */
function imageFaults(repository: Repository, stored: StoredCommit): string[] {
  const { checksum, image, chunk } = stored;
  if (image === undefined) return [`commit ${checksum} has no image`];
  if (!repository.hasImage(image)) return [`image ${image} of commit ${checksum} is missing`];
  try {
    const tree = commitTree(checksum, (id) => chunk.get(id));
    const { version } = repository.readImage(image);
    const expected = storedImageId(repository, tree, version);
    if (expected === image) return [];
    return [`image of commit ${checksum} is ${image}, its files make ${expected}`];
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return [`image of commit ${checksum}: ${chain(error)}`];
  }
}

function chain(error: ComposefsError): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) parts.push(at.message);
  return parts.join(": ");
}
