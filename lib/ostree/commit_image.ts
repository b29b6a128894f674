/** From an image to an OSTree commit (spec: ostree 5, commit). */
import {
  type ByteString,
  ComposefsError,
  displayByteString,
  FormatError,
  type ObjectId,
  UnsupportedError,
} from "../base/mod.ts";
import { readTree } from "../erofs/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { Directory, Leaf, Stat, Xattrs } from "../tree/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import type { CommitEntry } from "./commit_chunk.ts";
import { commitTagRef } from "./commit_names.ts";
import { type Commit, encodeCommit, type MetadataEntries } from "./commit_object.ts";
import { commitTree, storeCommitImages } from "./commit_tree.ts";
import { join } from "./content_sink.ts";
import { encodeDirMeta, S_IFDIR, S_IFLNK, S_IFREG } from "./dirmeta.ts";
import { encodeDirTree, type TreeDirectory, type TreeFile, utf8Text } from "./dirtree.ts";
import { checkFileHeader, encodeArchiveHeader, type FileHeader } from "./file_header.ts";
import { inlineLimit } from "./source.ts";
import { storeCommit } from "./stored_commit.ts";
import { checksumOfContent } from "./stored_file.ts";
import { Variant } from "./variant.ts";

/** What a new commit says. */
export interface CommitImageOptions {
  /** Ref that the commit is bound to, and tag to make. */
  reference?: string;
  /** First line of the message. @default "" */
  subject?: string;
  /** Rest of the message. @default "" */
  body?: string;
  /** Parent commit. */
  parent?: Checksum;
  /** Seconds since 1970. */
  timestamp: bigint;
  /** More metadata: strings by key. */
  metadata?: readonly (readonly [key: string, value: string])[];
}

/** A commit that was made. */
export interface CreatedCommit {
  /** Its checksum. */
  readonly commit: Checksum;
  /** Object id of its splitstream. */
  readonly stream: ObjectId;
  /** Its image. */
  readonly image: ObjectId;
}

/**
 * Makes a commit of an image's files: every file is read once for its checksum.
 *
 * @throws {FormatError} for names or targets that are not UTF-8
 * @throws {UnsupportedError} for devices, fifos and sockets, which OSTree cannot hold
 */
export function commitImage(
  repository: Repository,
  image: ObjectId,
  options: CommitImageOptions,
): CreatedCommit {
  repository.assertWritable();
  const { reference } = options;
  const tagRef = reference === undefined ? undefined : commitTagRef(reference);
  const maker = new CommitMaker(repository);
  const root = maker.directory(readTree(repository.readImage(image)).root);
  const commit: Commit = {
    metadata: commitMetadata(options),
    ...(options.parent === undefined ? {} : { parent: options.parent }),
    related: [],
    subject: options.subject ?? "",
    body: options.body ?? "",
    timestamp: options.timestamp,
    rootTree: root.tree,
    rootMeta: root.meta,
  };
  const checksum = maker.metadata(encodeCommit(commit));
  const tree = commitTree(checksum, (id) => maker.entries.get(id));
  const { image: made, more } = storeCommitImages(repository, tree);
  const stream = storeCommit(repository, checksum, {
    entries: maker.entries,
    image: made,
    more,
    detached: undefined,
    ...(tagRef === undefined ? {} : { tagRef }),
  });
  return { commit: checksum, stream, image: made };
}

function commitMetadata({ reference, metadata }: CommitImageOptions): MetadataEntries {
  const entries: [string, Variant][] = [];
  if (reference !== undefined) entries.push(["ostree.ref-binding", new Variant("as", [reference])]);
  for (const [key, value] of metadata ?? []) {
    if (entries.some(([known]) => known === key)) {
      throw new FormatError("ostree commit", `Metadata key '${key}' is given twice`);
    }
    entries.push([key, new Variant("s", value)]);
  }
  return entries;
}

/** A directory that is being made: its own entries are ready when those below it are. */
interface Frame {
  readonly directory: Directory;
  readonly path: ByteString;
  readonly name: ByteString;
  readonly pending: [ByteString, Directory][];
  readonly files: TreeFile[];
  readonly dirs: TreeDirectory[];
}

class CommitMaker {
  readonly entries = new Map<Checksum, CommitEntry>();
  readonly #repository: Repository;
  readonly #inline: number;
  readonly #leaves = new Map<Leaf, Checksum>();

  constructor(repository: Repository) {
    this.#repository = repository;
    this.#inline = inlineLimit(repository.algorithm);
  }

  metadata(bytes: Uint8Array): Checksum {
    const checksum = checksumOf(bytes);
    this.entries.set(checksum, { data: bytes, external: undefined });
    return checksum;
  }

  /** Makes the objects of a directory and of everything below it. */
  directory(root: Directory): { tree: Checksum; meta: Checksum } {
    const stack = [this.#frame(root, "", "")];
    for (;;) {
      const frame = stack.at(-1)!;
      const next = frame.pending.pop();
      if (next !== undefined) {
        const [name, directory] = next;
        stack.push(this.#frame(directory, name, `${frame.path}/${name}`));
        continue;
      }
      const made = {
        tree: this.metadata(encodeDirTree(frame)),
        meta: this.metadata(encodeDirMeta(header(frame.directory.stat, S_IFDIR))),
      };
      stack.pop();
      const parent = stack.at(-1);
      if (parent === undefined) return made;
      parent.dirs.push({ name: frame.name, ...made });
    }
  }

  #frame(directory: Directory, name: ByteString, path: ByteString): Frame {
    const pending: [ByteString, Directory][] = [];
    const files: TreeFile[] = [];
    for (const [child, node] of directory.entries) {
      if (node.kind === "directory") pending.push([child, node]);
      else files.push({ name: child, checksum: this.#leaf(node, `${path}/${child}`) });
    }
    return { directory, name, path, pending, files, dirs: [] };
  }

  #leaf(leaf: Leaf, path: ByteString): Checksum {
    const known = this.#leaves.get(leaf);
    if (known !== undefined) return known;
    const checksum = this.#file(leaf, path);
    this.#leaves.set(leaf, checksum);
    return checksum;
  }

  #file(leaf: Leaf, path: ByteString): Checksum {
    const { content, stat } = leaf;
    switch (content.type) {
      case "symlink": {
        const target = content.target;
        utf8Text(target, "link target");
        return this.#add({ ...header(stat, S_IFLNK), size: 0, target }, new Uint8Array(0));
      }
      case "inline":
        return this.#add(regular(stat, content.data.length), content.data);
      case "external":
      case "external-no-verity":
        return this.#add(regular(stat, content.size), content.digest);
      case "sparse":
        if (content.size === 0) return this.#add(regular(stat, 0), new Uint8Array(0));
    }
    const shown = displayByteString(path);
    throw new UnsupportedError(`${shown} is a ${content.type} node, which ostree cannot hold`);
  }

  #add(head: FileHeader, content: Uint8Array | ObjectId): Checksum {
    checkFileHeader(head);
    const { objects } = this.#repository;
    if (typeof content === "string" && objects.size(content) !== head.size) {
      const message = `Object ${content} does not have the ${head.size} bytes that the image says`;
      throw new ComposefsError("CFS_NOT_FOUND", message);
    }
    const checksum = checksumOfContent(this.#repository, head, content);
    const framed = encodeArchiveHeader(head);
    this.entries.set(checksum, this.#entry(framed, head.size, content));
    return checksum;
  }

  /** Small contents are inline, others objects, whatever the image does. */
  #entry(framed: Uint8Array, size: number, content: Uint8Array | ObjectId): CommitEntry {
    const { objects } = this.#repository;
    if (size <= this.#inline) {
      const bytes = typeof content === "string" ? objects.read(content) : content;
      return { data: join(framed, bytes), external: undefined };
    }
    const id = typeof content === "string" ? content : objects.write(content).id;
    return { data: framed, external: id };
  }
}

function regular(stat: Stat, size: number): FileHeader {
  return { ...header(stat, S_IFREG), size, target: "" };
}

function header(
  stat: Stat,
  type: number,
): { uid: number; gid: number; mode: number; xattrs: Xattrs } {
  const { uid, gid } = stat;
  return { uid, gid, mode: (stat.mode & 0o7777) | type, xattrs: withLabelEnd(stat.xattrs) };
}

const LABEL = "security.selinux";

/** SELinux labels end with NUL, as the kernel gives them out. */
function withLabelEnd(xattrs: Xattrs): Xattrs {
  const label = xattrs.get(LABEL);
  if (label === undefined || label.endsWith("\0")) return xattrs;
  return new Map(xattrs).set(LABEL, label + "\0");
}
