/** From a commit's objects to a file tree and its image (spec: ostree 4.3). */
import { type ByteString, displayByteString, FormatError, type ObjectId } from "../base/mod.ts";
import { type ErofsVersion, writeImage } from "../erofs/mod.ts";
import type { Repository } from "../repository/mod.ts";
import {
  Directory,
  type FileTree,
  Leaf,
  type LeafContent,
  type Stat,
  type Xattrs,
} from "../tree/mod.ts";
import type { Checksum } from "./checksum.ts";
import type { CommitEntry } from "./commit_chunk.ts";
import { parseCommit } from "./commit_object.ts";
import { type DirMeta, parseDirMeta } from "./dirmeta.ts";
import { type DirTree, parseDirTree } from "./dirtree.ts";
import {
  type FileHeader,
  FRAME_SIZE,
  isSymlink,
  parseArchiveHeader,
  parseFrame,
} from "./file_header.ts";

/** Deepest directory that is accepted. */
export const MAX_TREE_DEPTH = 1024;
/** Most names in a tree: a few shared directories can make an endless one. */
const MAX_NAMES = 16_000_000;

/** Looks objects of a commit up. */
export type EntryLookup = (checksum: Checksum) => CommitEntry | undefined;

/** The header and inline content of a file entry. */
export interface FileEntry {
  /** Its header. */
  readonly header: FileHeader;
  /** The framed archive header as stored. */
  readonly framed: Uint8Array;
  /** Inline content; empty when it is external. */
  readonly content: Uint8Array;
  /** The object with the content, when it is not inline. */
  readonly external: ObjectId | undefined;
}

/**
 * Splits a stored file entry.
 *
 * @throws {FormatError} when it is none, or its content has another size than its header says
 */
export function fileEntry(checksum: Checksum, entry: CommitEntry): FileEntry {
  const end = FRAME_SIZE + parseFrame(entry.data);
  if (end > entry.data.length) {
    throw new FormatError("ostree file", `file object ${checksum}: header is cut off`);
  }
  const framed = entry.data.subarray(0, end);
  // Names without NUL are what an older reference wrote; they can be read well.
  const header = parseArchiveHeader(framed.subarray(FRAME_SIZE), { bareXattrNames: true });
  const content = entry.data.subarray(end);
  const inline = entry.external === undefined;
  if (inline ? content.length !== header.size : content.length !== 0 || isSymlink(header)) {
    const message =
      `file object ${checksum}: header says ${header.size} bytes, content has ${content.length}`;
    throw new FormatError("ostree file", message);
  }
  return { header, framed, content, external: entry.external };
}

/**
 * Builds the file tree of a commit. The same file object again is a hard link.
 *
 * @param parsed.trees directories that need not be parsed again
 * @throws {FormatError} when objects are missing or do not fit together
 */
export function commitTree(
  commit: Checksum,
  lookup: EntryLookup,
  parsed: { readonly trees?: ReadonlyMap<Checksum, DirTree> } = {},
): FileTree {
  const builder = new TreeBuilder(lookup, parsed.trees ?? new Map());
  const { rootTree, rootMeta } = parseCommit(builder.metadata("commit", commit));
  return { root: builder.build(rootTree, rootMeta) };
}

class TreeBuilder {
  readonly #lookup: EntryLookup;
  readonly #leaves = new Map<Checksum, Leaf>();
  readonly #metas = new Map<Checksum, Stat>();
  readonly #trees: ReadonlyMap<Checksum, DirTree>;
  #names = 0;

  constructor(lookup: EntryLookup, trees: ReadonlyMap<Checksum, DirTree>) {
    this.#lookup = lookup;
    this.#trees = trees;
  }

  metadata(kind: string, checksum: Checksum): Uint8Array {
    const entry = this.#lookup(checksum);
    if (entry === undefined || entry.external !== undefined) {
      throw new FormatError("ostree commit stream", `Missing ${kind} object ${checksum}`);
    }
    return entry.data;
  }

  build(rootTree: Checksum, rootMeta: Checksum): Directory {
    const root = new Directory(this.#stat(rootMeta));
    const pending = [{ directory: root, tree: rootTree, depth: 0 }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { directory, tree, depth } = next;
      if (depth > MAX_TREE_DEPTH) {
        throw new FormatError("ostree dirtree", `Tree deeper than ${MAX_TREE_DEPTH} directories`);
      }
      const { files, dirs } = this.#trees.get(tree) ??
        parseDirTree(this.metadata("dirtree", tree));
      this.#names += files.length + dirs.length;
      if (this.#names > MAX_NAMES) {
        throw new FormatError("ostree dirtree", `Tree with more than ${MAX_NAMES} names`);
      }
      for (const { name, checksum } of files) {
        directory.entries.set(name, this.#leaf(checksum, name));
      }
      for (const { name, tree, meta } of dirs) {
        const child = new Directory(this.#stat(meta));
        directory.entries.set(name, child);
        pending.push({ directory: child, tree, depth: depth + 1 });
      }
    }
    return root;
  }

  #stat(checksum: Checksum): Stat {
    let stat = this.#metas.get(checksum);
    if (stat === undefined) {
      stat = statOf(parseDirMeta(this.metadata("dirmeta", checksum), { bareXattrNames: true }));
      this.#metas.set(checksum, stat);
    }
    return stat;
  }

  #leaf(checksum: Checksum, name: ByteString): Leaf {
    const known = this.#leaves.get(checksum);
    if (known !== undefined) return known;
    const entry = this.#lookup(checksum);
    if (entry === undefined) {
      const shown = displayByteString(name);
      throw new FormatError("ostree commit stream", `Missing file object ${checksum} of ${shown}`);
    }
    const file = fileEntry(checksum, entry);
    const leaf = new Leaf(statOf(file.header), leafContent(file));
    this.#leaves.set(checksum, leaf);
    return leaf;
  }
}

function leafContent({ header, content, external }: FileEntry): LeafContent {
  if (isSymlink(header)) return { type: "symlink", target: header.target };
  if (external === undefined) return { type: "inline", data: content };
  return { type: "external", digest: external, size: header.size };
}

function statOf(meta: DirMeta | { uid: number; gid: number; mode: number; xattrs: Xattrs }): Stat {
  const { uid, gid, xattrs } = meta;
  return { mode: meta.mode & 0o7777, uid, gid, mtimeSec: 0n, mtimeNsec: 0, xattrs };
}

/** Writes the image of a commit in the repository's default format; it gets no name yet. */
export function storeCommitImage(
  repository: Repository,
  tree: FileTree,
  version: ErofsVersion = repository.formats[0]!,
): ObjectId {
  const bytes = writeImage(tree, { version, hash: repository.algorithm.hash });
  return repository.objects.write(bytes).id;
}

/** The images of a commit in the formats of a repository. */
export interface CommitImages {
  /** In the default format. */
  readonly image: ObjectId;
  /** In the further formats. */
  readonly more: ReadonlyMap<ErofsVersion, ObjectId>;
}

/** Writes the images of a commit in all formats of the repository; they get no names yet. */
export function storeCommitImages(repository: Repository, tree: FileTree): CommitImages {
  const [first, ...others] = repository.formats;
  const image = storeCommitImage(repository, tree, first);
  const more = new Map(
    others.map((version) => [version, storeCommitImage(repository, tree, version)] as const),
  );
  return { image, more };
}

/** The id that the image of a tree has in this repository; nothing is written. */
export function storedImageId(
  repository: Repository,
  tree: FileTree,
  version: ErofsVersion,
): ObjectId {
  return repository.idOf(writeImage(tree, { version, hash: repository.algorithm.hash }));
}
