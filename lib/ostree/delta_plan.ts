/** What a static delta has to bring: objects that its base lacks, and what they may be made from. */
import { type ByteString, FormatError, type ObjectId } from "../base/mod.ts";
import { type OldContent, Pairer } from "../delta/mod.ts";
import type { Checksum } from "./checksum.ts";
import { fileEntry, MAX_TREE_DEPTH } from "./commit_tree.ts";
import type { FileToEncode, StoredFileContent } from "./delta_encode.ts";
import { parseDirTree } from "./dirtree.ts";
import type { FileHeader } from "./file_header.ts";
import type { MetadataKind } from "./object_kind.ts";
import type { StoredCommit } from "./stored_commit.ts";

/** Files that are sent to a worker at a time: many small ones, or a large one. */
const BATCH = { files: 256, bytes: 4 * 1024 * 1024 } as const;

/** Largest file that others are compared with, in bytes. */
const MAX_SOURCE = 512 * 1024 * 1024;

/** A metadata object to bring. */
export interface PlannedMetadata {
  /** Its kind. */
  readonly kind: MetadataKind;
  /** Its checksum. */
  readonly checksum: Checksum;
  /** Its bytes. */
  readonly bytes: Uint8Array;
}

/** A file object to bring. */
export interface PlannedFile {
  /** Its checksum. */
  readonly checksum: Checksum;
  /** Its header. */
  readonly header: FileHeader;
  /** Its framed archive header as stored. */
  readonly framed: Uint8Array;
  /** Inline content; empty when it is external. */
  readonly content: Uint8Array;
  /** The object with its content, when that is not inline. */
  readonly external: ObjectId | undefined;
  /** A file of the base that it may be like. */
  readonly source: StoredFileContent | undefined;
}

/** What a delta has to bring. */
export interface DeltaPlan {
  /** Directories and their metadata; the commit is not among them. */
  readonly metadata: readonly PlannedMetadata[];
  /** Files, those that are likely to be alike one after the other. */
  readonly files: readonly PlannedFile[];
}

/**
 * Compares two commits.
 *
 * @param base the commit that is there; `undefined` for none
 * @throws {FormatError} when an object is missing or malformed
 */
export function planDelta(target: StoredCommit, base: StoredCommit | undefined): DeltaPlan {
  const before = base === undefined ? undefined : reachable(base);
  const after = reachable(target);
  const metadata: PlannedMetadata[] = [];
  for (const [checksum, kind] of after.metadata) {
    if (before?.metadata.has(checksum)) continue;
    metadata.push({ kind, checksum, bytes: target.chunk.get(checksum)!.data });
  }
  const sources = base === undefined ? undefined : new Sources(base, before!.files);
  const files: (PlannedFile & { path: ByteString })[] = [];
  for (const [checksum, [path]] of after.files) {
    if (before?.files.has(checksum)) continue;
    const entry = target.chunk.get(checksum);
    if (entry === undefined) throw missing("file", checksum);
    const file = fileEntry(checksum, entry);
    const { external, header } = file;
    const source = external === undefined
      ? undefined
      : sources?.find(path!, { id: external, size: header.size });
    files.push({ checksum, ...file, source, path: path! });
  }
  // What compresses well together: names with the same ending, then the same names.
  const keys = new Map(files.map((file) => [file, sortKey(file.path)]));
  files.sort((a, b) => keys.get(a)! < keys.get(b)! ? -1 : 1);
  return { metadata, files };
}

/** A content of the base, and the first file object with it. */
interface BaseContent extends OldContent {
  readonly checksum: Checksum;
  readonly framed: Uint8Array;
  readonly paths: ByteString[];
}

/** Files of the base by content and by name. */
class Sources {
  readonly #pairer: Pairer;
  readonly #contents: readonly BaseContent[];

  constructor(base: StoredCommit, files: ReadonlyMap<Checksum, readonly ByteString[]>) {
    const contents = new Map<ObjectId, BaseContent>();
    for (const [checksum, paths] of files) {
      const entry = base.chunk.get(checksum);
      if (entry === undefined) throw missing("file", checksum);
      const { external, header, framed } = fileEntry(checksum, entry);
      if (external === undefined) continue;
      const known = contents.get(external);
      if (known === undefined) {
        const { size } = header;
        contents.set(external, { id: external, size, paths: [...paths], checksum, framed });
      } else known.paths.push(...paths);
    }
    this.#contents = [...contents.values()];
    for (const { paths } of contents.values()) paths.sort();
    this.#pairer = new Pairer(this.#contents);
  }

  find(path: ByteString, file: { id: ObjectId; size: number }): StoredFileContent | undefined {
    const { content } = this.#pairer.find(path, file);
    const found = this.#contents[content];
    if (found === undefined) return undefined;
    const { checksum, id, size, framed } = found;
    // Whoever compares them has both in memory.
    if (id !== file.id && size > MAX_SOURCE) return undefined;
    return { checksum, external: id, size, framed: framed.slice() };
  }
}

/** What a commit consists of. */
interface Reachable {
  readonly metadata: ReadonlyMap<Checksum, MetadataKind>;
  /** File objects and where they are, without a slash in front. */
  readonly files: ReadonlyMap<Checksum, readonly ByteString[]>;
}

function reachable({ chunk, commit }: StoredCommit): Reachable {
  const metadata = new Map<Checksum, MetadataKind>();
  const files = new Map<Checksum, ByteString[]>();
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
      const full = path + name;
      const known = files.get(checksum);
      if (known === undefined) files.set(checksum, [full]);
      else known.push(full);
    }
    for (const { name, tree, meta } of dirs) {
      stack.push({ path: `${path}${name}/`, tree, meta, depth: depth + 1 });
    }
  }
  return { metadata, files };
}

function sortKey(path: ByteString): ByteString {
  const base = path.slice(path.lastIndexOf("/") + 1);
  const dot = base.lastIndexOf(".");
  return `${dot > 0 ? base.slice(dot) : ""}\0${base}\0${path}`;
}

function missing(kind: string, checksum: Checksum): FormatError {
  return new FormatError("ostree commit stream", `Missing ${kind} object ${checksum}`);
}

/** A file with external content as a worker takes it. */
export function toEncode(
  { checksum, framed, external, header, source }: PlannedFile,
): FileToEncode {
  // A view would take the whole commit along to the worker.
  return { checksum, framed: framed.slice(), external: external!, size: header.size, source };
}

/** Groups of files with a bounded content, in their order. */
export function* fileGroups(files: readonly PlannedFile[]): Generator<PlannedFile[]> {
  let batch: PlannedFile[] = [];
  let bytes = 0;
  for (const file of files) {
    const size = file.header.size + (file.source?.size ?? 0);
    if (batch.length > 0 && (bytes + size > BATCH.bytes || batch.length >= BATCH.files)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(file);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
