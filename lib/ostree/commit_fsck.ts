/** Checking stored commits object by object (spec: ostree 5). */
import { ComposefsError, displayByteString } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import { parseCommit } from "./commit_object.ts";
import { commitTree, fileEntry, storedImageId } from "./commit_tree.ts";
import { parseDirMeta } from "./dirmeta.ts";
import { parseDirTree } from "./dirtree.ts";
import { corruptedObject } from "./object_kind.ts";
import { type ReachableObject, reachableObjects } from "./reachable.ts";
import { openCommit, type StoredCommit } from "./stored_commit.ts";
import { checksumOfFile } from "./stored_file.ts";

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

/** Checks every object that a stored commit needs, its contents included, and its image. */
export function checkStoredCommit(repository: Repository, commit: Checksum): CommitFsckReport {
  const errors: string[] = [];
  const warnings: string[] = [];
  let objects = 0;
  let stored: StoredCommit;
  try {
    stored = openCommit(repository, commit);
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return { commit, objects, errors: [chain(error)], warnings };
  }
  for (const object of reachableObjects(commit, (checksum) => stored.chunk.get(checksum))) {
    objects++;
    try {
      checkObject(repository, object);
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      const at = object.path === "" ? "" : ` (${displayByteString(object.path)})`;
      errors.push(`${object.kind} object ${object.checksum}${at}: ${error.message}`);
    }
  }
  const spare = stored.chunk.count - objects;
  if (spare > 0) warnings.push(`commit ${commit} stores ${spare} objects that it does not need`);
  if (errors.length === 0) errors.push(...imageFaults(repository, stored));
  return { commit, objects, errors, warnings };
}

function checkObject(repository: Repository, object: ReachableObject): void {
  const { kind, checksum, entry } = object;
  if (entry === undefined) throw new ComposefsError("CFS_NOT_FOUND", "missing");
  if (kind === "file") {
    const file = fileEntry(checksum, entry);
    const { checksum: actual, size } = checksumOfFile(repository, file);
    if (size !== file.header.size) {
      const message = `header says ${file.header.size} bytes, content has ${size}`;
      throw new ComposefsError("CFS_FORMAT", message);
    }
    if (actual !== checksum) throw corruptedObject(kind, checksum, actual);
    return;
  }
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
