/** Names of commits in a composefs repository: streams and tags (spec: ostree 4, 4.4, 5). */
import {
  ConflictError,
  FormatError,
  InvalidNameError,
  NotFoundError,
  utf8ByteString,
} from "../base/mod.ts";
import {
  checkRefName,
  decodeRefComponent,
  encodeRefComponent,
  type Repository,
} from "../repository/mod.ts";
import { type Checksum, isChecksum } from "./checksum.ts";

const COMMIT_STREAM = "ostree-commit-";
const META_STREAM = "ostree-commitmeta-";
/** Where tags are below `streams/refs`. */
const TAGS = "ostree";
const MAX_ENCODED = 255;

/** Content id of a commit's stream. */
export function commitStreamName(commit: Checksum): string {
  return COMMIT_STREAM + commit;
}

/** Content id of the stream with a commit's detached metadata. */
export function commitMetaStreamName(commit: Checksum): string {
  return META_STREAM + commit;
}

/**
 * Checks a tag and encodes it into the name of its reference.
 *
 * @throws {InvalidNameError} for empty, dangerous or too long names
 */
export function commitTagRef(name: string): string {
  const shown = JSON.stringify(name);
  if (name === "") throw new InvalidNameError("Invalid ref name: a tag cannot be empty");
  if (!name.isWellFormed()) throw new InvalidNameError(`Invalid ref name ${shown}: not Unicode`);
  if (name.includes("\0")) throw new InvalidNameError(`Invalid ref name ${shown}: contains NUL`);
  const encoded = encodeRefComponent(name);
  if (utf8ByteString(encoded).length > MAX_ENCODED) {
    throw new InvalidNameError(
      `Invalid ref name ${shown}: longer than ${MAX_ENCODED} bytes when encoded`,
    );
  }
  checkRefName(encoded);
  return `${TAGS}/${encoded}`;
}

/** A tag and the commit it leads to. */
export interface CommitTag {
  /** Name as the user gave it. */
  readonly name: string;
  /** The commit. */
  readonly commit: Checksum;
}

/** All tags, sorted by name. */
export function listCommitTags(repository: Repository): CommitTag[] {
  const out: CommitTag[] = [];
  for (const ref of repository.listRefs("streams")) {
    if (!ref.name.startsWith(`${TAGS}/`) || !ref.entry.startsWith(COMMIT_STREAM)) continue;
    const commit = ref.entry.slice(COMMIT_STREAM.length);
    if (!isChecksum(commit)) continue;
    out.push({ name: decodeRefComponent(ref.name.slice(TAGS.length + 1)), commit });
  }
  return out.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/** The commit that a tag leads to; `undefined` when there is no such tag. */
export function resolveCommitTag(repository: Repository, name: string): Checksum | undefined {
  const entry = repository.resolveRef("streams", commitTagRef(name));
  if (entry === undefined || !entry.startsWith(COMMIT_STREAM)) return undefined;
  const commit = entry.slice(COMMIT_STREAM.length);
  if (!isChecksum(commit)) return undefined;
  if (repository.streamObject(entry) === undefined) {
    const message = `ref '${name}' points to missing stream '${entry}'`;
    throw new NotFoundError("stream", entry, { message });
  }
  return commit;
}

/** All commits that are stored, sorted. */
export function listCommits(repository: Repository): Checksum[] {
  const out: Checksum[] = [];
  for (const name of repository.listStreams()) {
    if (!name.startsWith(COMMIT_STREAM)) continue;
    const commit = name.slice(COMMIT_STREAM.length);
    if (isChecksum(commit)) out.push(commit);
  }
  return out;
}

/**
 * Finds a stored commit by tag, id, or the beginning of an id.
 *
 * @throws {NotFoundError} in the reference's words
 * @throws {ConflictError} when more than one commit begins like that
 */
export function findCommit(repository: Repository, source: string): Checksum {
  const tagged = isTagName(source) ? resolveCommitTag(repository, source) : undefined;
  if (tagged !== undefined) return tagged;
  if (!/^[0-9a-fA-F]{1,64}$/.test(source)) {
    const message = `'${source}' is not a known ostree ref or valid commit ID`;
    throw new NotFoundError("ostree commit", source, { message });
  }
  const prefix = source.toLowerCase();
  const matches = listCommits(repository).filter((commit) => commit.startsWith(prefix));
  if (matches.length > 1) throw new ConflictError(`ambiguous commit ID prefix '${source}'`);
  if (matches.length === 1) return matches[0]!;
  const message = source.length === 64
    ? `ostree commit ${source} not found in repository`
    : `ostree commit prefix '${source}' not found in repository`;
  throw new NotFoundError("ostree commit", source, { message });
}

function isTagName(name: string): boolean {
  try {
    commitTagRef(name);
    return true;
  } catch (error) {
    if (error instanceof InvalidNameError || error instanceof FormatError) return false;
    throw error;
  }
}

/** Gives a stored commit a name; an existing tag moves. */
export function tagCommit(repository: Repository, commit: Checksum, name: string): void {
  const entry = commitStreamName(commit);
  if (repository.streamObject(entry) === undefined) {
    const message = `ostree commit ${commit} not found in repository`;
    throw new NotFoundError("ostree commit", commit, { message });
  }
  repository.setRef("streams", commitTagRef(name), { entry });
}

/** Removes a tag; false when there was none. */
export function untagCommit(repository: Repository, name: string): boolean {
  return repository.removeRef("streams", commitTagRef(name));
}
