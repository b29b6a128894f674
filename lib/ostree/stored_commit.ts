/** Commits in a composefs repository (spec: ostree 4). */
import { FormatError, NotFoundError, type ObjectId, withContext } from "../base/mod.ts";
import type { OpenStream, Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import type { Checksum } from "./checksum.ts";
import { CommitChunk, type CommitEntry, encodeChunk } from "./commit_chunk.ts";
import { commitMetaStreamName, commitStreamName } from "./commit_names.ts";
import { commitTree, storeCommitImages } from "./commit_tree.ts";
import { type Commit, parseCommit } from "./commit_object.ts";

/** Named reference of a commit's stream to its image. */
export const IMAGE_REF = "composefs.image";
/** Named reference of a commit's stream to its detached metadata. */
export const COMMITMETA_REF = "ostree.commitmeta";
/** Content type of the stream with detached metadata: `ocommeta`. */
export const COMMITMETA_TYPE = 0x6174656d6d6f636fn;

/** Largest chunk that is read, in bytes: the objects of a commit without large contents. */
const MAX_CHUNK = 2 ** 31;

/** A stored commit that was opened. */
export interface StoredCommit {
  /** Its checksum. */
  readonly checksum: Checksum;
  /** Object id of its splitstream. */
  readonly stream: ObjectId;
  /** Its objects. */
  readonly chunk: CommitChunk;
  /** Its image in the repository's default format, when one was made. */
  readonly image: ObjectId | undefined;
  /** Its images in further formats, by their versions. */
  readonly moreImages: ReadonlyMap<number, ObjectId>;
  /** Object id of the stream with its detached metadata. */
  readonly commitMeta: ObjectId | undefined;
  /** The commit object. */
  readonly commit: Commit;
}

/**
 * Opens a stored commit; its stream is verified.
 *
 * @throws {NotFoundError} when it is not there
 * @throws {FormatError} when its stream is not what it should be
 */
export function openCommit(repository: Repository, checksum: Checksum): StoredCommit {
  const name = commitStreamName(checksum);
  if (repository.streamObject(name) === undefined) {
    const message = `ostree commit ${checksum} not found in repository`;
    throw new NotFoundError("ostree commit", checksum, { message });
  }
  try {
    const stream = repository.openStream(name, { contentType: CONTENT_TYPE.ostreeCommit });
    const chunk = new CommitChunk(inlineBytes(stream), {
      externals: stream.objectRefs.length,
      external: (index) => stream.objectRefs.id(index),
    });
    if (chunk.commit !== checksum) {
      throw new FormatError("ostree commit stream", `Stream is of commit ${chunk.commit}`);
    }
    return {
      checksum,
      stream: stream.id,
      chunk,
      image: stream.namedRefs.get(IMAGE_REF),
      moreImages: moreImages(stream.namedRefs),
      commitMeta: stream.namedRefs.get(COMMITMETA_REF),
      commit: parseCommit(chunk.get(checksum)!.data),
    };
  } catch (cause) {
    throw withContext(`Opening ostree commit ${checksum}`, cause);
  }
}

function moreImages(refs: ReadonlyMap<string, ObjectId>): Map<number, ObjectId> {
  const out = new Map<number, ObjectId>();
  for (const [name, id] of refs) {
    const version = /^\.v([0-9])$/.exec(name.slice(IMAGE_REF.length))?.[1];
    if (name.startsWith(IMAGE_REF) && version !== undefined) out.set(Number(version), id);
  }
  return out;
}

/** The content of a stream that is one inline chunk. */
export function inlineBytes(stream: OpenStream): Uint8Array {
  if (stream.streamSize > BigInt(MAX_CHUNK)) {
    throw new FormatError("splitstream", `Stream of ${stream.streamSize} bytes is too large`);
  }
  const out = new Uint8Array(Number(stream.streamSize));
  let at = 0;
  for (const chunk of stream.chunks()) {
    if (chunk.type !== "inline") {
      throw new FormatError("splitstream", "Unexpected external chunk in this stream");
    }
    if (chunk.bytes.length > out.length - at) {
      throw new FormatError("splitstream", "Stream is longer than its header says");
    }
    out.set(chunk.bytes, at);
    at += chunk.bytes.length;
  }
  if (at !== out.length) throw new FormatError("splitstream", "Stream is shorter than announced");
  return out;
}

/** What is stored of a commit. */
export interface CommitContent {
  /** All its objects. */
  readonly entries: ReadonlyMap<Checksum, CommitEntry>;
  /** Its image. */
  readonly image: ObjectId | undefined;
  /** Its images in the further formats of the repository, by their versions. @default none */
  readonly more?: ReadonlyMap<number, ObjectId>;
  /** Its detached metadata. */
  readonly detached: Uint8Array | undefined;
}

/** The splitstream of a commit: bytes of the file. */
export function encodeCommitStream(
  repository: Repository,
  checksum: Checksum,
  content: Omit<CommitContent, "detached"> & { commitMeta: ObjectId | undefined },
): Uint8Array {
  const { bytes, externals } = encodeChunk(checksum, content.entries);
  using writer = repository.newStream(CONTENT_TYPE.ostreeCommit);
  for (const id of externals) writer.addObjectRef(id);
  writer.addInline(bytes);
  if (content.image !== undefined) writer.addNamedRef(IMAGE_REF, content.image);
  for (const [version, id] of content.more ?? []) {
    writer.addNamedRef(`${IMAGE_REF}.v${version}`, id);
  }
  if (content.commitMeta !== undefined) writer.addNamedRef(COMMITMETA_REF, content.commitMeta);
  return writer.finish();
}

/**
 * Stores a commit and gives it its name: everything is durable before that.
 *
 * @param options.tag reference to make, as {@linkcode commitTagRef} encodes it
 * @returns object id of its splitstream
 */
export function storeCommit(
  repository: Repository,
  checksum: Checksum,
  content: CommitContent & { tagRef?: string },
): ObjectId {
  const { detached, image } = content;
  let commitMeta: ObjectId | undefined;
  if (detached !== undefined) {
    using writer = repository.newStream(COMMITMETA_TYPE);
    writer.addInline(detached);
    commitMeta = repository.objects.write(writer.finish()).id;
  }
  const bytes = encodeCommitStream(repository, checksum, { ...content, commitMeta });
  const stream = repository.objects.write(bytes).id;
  repository.sync();
  if (image !== undefined) repository.linkImage(image);
  for (const id of content.more?.values() ?? []) repository.linkImage(id);
  if (commitMeta !== undefined) {
    repository.linkStream(commitMetaStreamName(checksum), commitMeta);
  }
  const ref = content.tagRef === undefined ? {} : { ref: content.tagRef };
  repository.linkStream(commitStreamName(checksum), stream, ref);
  repository.sync();
  return stream;
}

/** Detached metadata that is kept of a commit; `undefined` when there is none. */
export function readDetachedMetadata(
  repository: Repository,
  commit: StoredCommit,
): Uint8Array | undefined {
  if (commit.commitMeta === undefined) return undefined;
  const options = { contentType: COMMITMETA_TYPE };
  return inlineBytes(repository.openStreamObject(commit.commitMeta, options));
}

/**
 * Makes the image of a stored commit, and stores the commit anew when its image was another one.
 *
 * @returns the image, and the one it replaces
 */
export function createCommitImage(
  repository: Repository,
  checksum: Checksum,
): { image: ObjectId; replaced: ObjectId | undefined } {
  const stored = openCommit(repository, checksum);
  const tree = commitTree(checksum, (id) => stored.chunk.get(id));
  const { image, more } = storeCommitImages(repository, tree);
  const same = stored.image === image &&
    [...more].every(([version, id]) => stored.moreImages.get(version) === id);
  if (same && [image, ...more.values()].every((id) => repository.hasImage(id))) {
    return { image, replaced: undefined };
  }
  const entries = new Map<Checksum, CommitEntry>();
  for (let i = 0; i < stored.chunk.count; i++) {
    entries.set(stored.chunk.id(i), stored.chunk.entry(i));
  }
  const detached = readDetachedMetadata(repository, stored);
  storeCommit(repository, checksum, { entries, image, more, detached });
  return { image, replaced: stored.image === image ? undefined : stored.image };
}
