/** Static deltas between stored commits (spec: ostree 7). */
import { type ByteString, FormatError, UnsupportedError } from "../base/mod.ts";
import { addressable, lzma, preadFull } from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import { parseMetadata } from "./commit_object.ts";
import { fileEntry, MAX_TREE_DEPTH } from "./commit_tree.ts";
import type { DeltaFallback } from "./delta_superblock.ts";
import {
  encodeDeltaEnvelope,
  encodeDeltaSuperblock,
  type Likeness,
  PartWriter,
  type WrittenPart,
} from "./delta_write.ts";
import { parseDirTree } from "./dirtree.ts";
import { encodeStreamHeader, type FileHeader, isSymlink } from "./file_header.ts";
import { corruptedObject, type MetadataKind } from "./object_kind.ts";
import type { SecretKey } from "./secret_key.ts";
import { sharedRuns } from "./shared_runs.ts";
import { openCommit, readDetachedMetadata, type StoredCommit } from "./stored_commit.ts";

/** Largest file that a delta can carry, in bytes: whoever applies it has a part in memory. */
const MAX_FILE = 512 * 1024 * 1024;
/** What a part holds before the next one begins. */
const PART_SIZE = 32 * 1024 * 1024;
/** As ostree compresses: a dictionary as large as a part. */
const PRESET = 8;

/** How a delta is made. */
export interface GenerateDeltaOptions {
  /** The commit that must be there to apply it. @default none */
  readonly from?: Checksum;
  /** The commit that it makes. */
  readonly to: Checksum;
  /** Put the parts inside the superblock; always so when they are not compressed. @default false */
  readonly inline?: boolean;
  /** Do not compress. Also where liblzma is missing. @default false */
  readonly plain?: boolean;
  /** Leave files from this size on to be fetched as objects; in bytes. @default none */
  readonly minFallbackSize?: number;
  /** Signs the superblock with this ed25519 key. @default not signed */
  readonly signKey?: SecretKey;
  /** When it was made, seconds since 1970. @default the time of the commit */
  readonly timestamp?: bigint;
}

/** A delta that was made. */
export interface GeneratedDelta {
  /** Its superblock. */
  readonly superblock: Uint8Array;
  /** Files of its parts; none when they are inside. */
  readonly parts: readonly Uint8Array[];
  /** Objects in its parts. */
  readonly objects: number;
  /** Objects that are to be fetched besides. */
  readonly fallbacks: number;
}

/**
 * Makes a delta between two stored commits. What the first one has is left out; of files that are
 * at the same path there, only what is new in them is taken.
 *
 * @throws {NotFoundError} when a commit is not stored
 * @throws {DigestMismatchError} when an object is damaged
 * @throws {UnsupportedError} for files above 512 MiB
 */
export function generateDelta(
  repository: Repository,
  options: GenerateDeltaOptions,
): GeneratedDelta {
  const { from, plain = false } = options;
  const target = openCommit(repository, options.to);
  const base = from === undefined ? undefined : openCommit(repository, from);
  const before = base === undefined ? undefined : reachable(base);
  const after = reachable(target);
  const library = plain ? undefined : lzma();
  const xz = library === undefined
    ? undefined
    : (data: Uint8Array) => library.compress(data, PRESET);
  // Not every ostree can open the file of a part that is not compressed.
  const inline = options.inline === true || xz === undefined;
  const parts: WrittenPart[] = [];
  let part = new PartWriter();
  let objects = 0;
  const flush = (): void => {
    if (!part.empty) parts.push(part.finish(xz));
    part = new PartWriter();
  };
  for (const [checksum, kind] of after.metadata) {
    if (before?.metadata.has(checksum)) continue;
    part.addMetadata(kind, checksum, target.chunk.get(checksum)!.data);
    objects++;
    if (part.size >= PART_SIZE) flush();
  }
  const { minFallbackSize = Infinity } = options;
  const fallbacks: DeltaFallback[] = [];
  for (const [checksum, path] of after.files) {
    if (before?.files.has(checksum)) continue;
    const size = fileSize(target, checksum);
    if (size >= minFallbackSize) {
      // How small it gets in an archive is not known here; it is told for progress only.
      fallbacks.push({ kind: "file", checksum, size, uncompressedSize: size });
      continue;
    }
    const file = readFile(repository, target, checksum);
    const actual = checksumOf(encodeStreamHeader(file.header), file.content);
    if (actual !== checksum) throw corruptedObject("file", checksum, actual);
    const old = before?.paths.get(path);
    const like = old === undefined
      ? undefined
      : compare(file, readFile(repository, base!, old), old);
    if (part.size > 0 && part.size + file.content.length > PART_SIZE) flush();
    part.addFile(checksum, { ...file, ...(like === undefined ? {} : { like }) });
    objects++;
  }
  flush();
  const detached = readDetachedMetadata(repository, target);
  const plainSuperblock = encodeDeltaSuperblock({
    from,
    to: options.to,
    commitBytes: target.chunk.get(options.to)!.data,
    detached: detached === undefined ? undefined : parseMetadata(detached),
    timestamp: options.timestamp ?? target.commit.timestamp,
    parts,
    fallbacks,
    inline,
  });
  const { signKey } = options;
  const superblock = signKey === undefined
    ? plainSuperblock
    : encodeDeltaEnvelope(plainSuperblock, signKey.signatures(plainSuperblock));
  return {
    superblock,
    fallbacks: fallbacks.length,
    parts: inline ? [] : parts.map(({ bytes }) => bytes),
    objects,
  };
}

/** What a commit consists of. */
interface Reachable {
  readonly metadata: ReadonlyMap<Checksum, MetadataKind>;
  /** File objects and the first path of each. */
  readonly files: ReadonlyMap<Checksum, ByteString>;
  /** File objects by path. */
  readonly paths: ReadonlyMap<ByteString, Checksum>;
}

function reachable({ chunk, commit }: StoredCommit): Reachable {
  const metadata = new Map<Checksum, MetadataKind>();
  const files = new Map<Checksum, ByteString>();
  const paths = new Map<ByteString, Checksum>();
  const stack = [{ path: "", tree: commit.rootTree, meta: commit.rootMeta, depth: 0 }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { path, tree, meta, depth } = next;
    if (chunk.get(meta) === undefined) throw missing("dirmeta", meta);
    metadata.set(meta, "dirmeta");
    // The same directory again has nothing new, and a few of them could make an endless tree.
    if (metadata.has(tree)) continue;
    metadata.set(tree, "dirtree");
    const entry = chunk.get(tree);
    if (entry === undefined) throw missing("dirtree", tree);
    if (depth > MAX_TREE_DEPTH) {
      throw new FormatError("ostree dirtree", `Tree deeper than ${MAX_TREE_DEPTH} directories`);
    }
    const { files: below, dirs } = parseDirTree(entry.data);
    for (const { name, checksum } of below) {
      const full = `${path}/${name}`;
      if (!files.has(checksum)) files.set(checksum, full);
      paths.set(full, checksum);
    }
    for (const { name, tree, meta } of dirs) {
      stack.push({ path: `${path}/${name}`, tree, meta, depth: depth + 1 });
    }
  }
  return { metadata, files, paths };
}

function missing(kind: string, checksum: Checksum): FormatError {
  return new FormatError("ostree commit stream", `Missing ${kind} object ${checksum}`);
}

function fileSize(commit: StoredCommit, checksum: Checksum): number {
  const entry = commit.chunk.get(checksum);
  if (entry === undefined) throw missing("file", checksum);
  return fileEntry(checksum, entry).header.size;
}

interface WholeFile {
  readonly header: FileHeader;
  readonly content: Uint8Array;
}

function readFile(repository: Repository, commit: StoredCommit, checksum: Checksum): WholeFile {
  const entry = commit.chunk.get(checksum);
  if (entry === undefined) throw missing("file", checksum);
  const { header, content, external } = fileEntry(checksum, entry);
  if (external === undefined) return { header, content };
  if (header.size > MAX_FILE) {
    const message = `Cannot put file object ${checksum} of ${header.size} bytes into a delta`;
    throw new UnsupportedError(message);
  }
  const { fd } = repository.objects.open(external);
  using _fd = fd;
  const bytes = addressable(header.size);
  if (preadFull(fd, bytes, 0) !== header.size) {
    throw new FormatError("ostree file", `Object of file ${checksum} is cut off`);
  }
  return { header, content: bytes };
}

function compare(file: WholeFile, old: WholeFile, source: Checksum): Likeness | undefined {
  if (isSymlink(file.header) || isSymlink(old.header)) return undefined;
  const runs = sharedRuns(old.content, file.content);
  return runs.length === 0 ? undefined : { source, runs };
}
