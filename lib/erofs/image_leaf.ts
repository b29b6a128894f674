/**
 * From an inode that is not a directory to a leaf of the tree (spec: erofs 5.3, 8.3).
 *
 * @module
 */
import {
  type ByteString,
  FormatError,
  HASH_SIZE,
  type HashName,
  type ObjectId,
  objectIdFromBytes,
  toByteString,
} from "../base/mod.ts";
import { Leaf, type LeafContent, type LeafNotes, type Stat } from "../tree/mod.ts";
import type { Claims } from "./claims.ts";
import { hashOfMetacopy, isPathOf, metacopyDigest, readObjectPath } from "./external.ts";
import { quoteName } from "./image_names.ts";
import { NO_MARKS, WHITEOUT_MARKS, type XattrReader } from "./image_xattrs.ts";
import { LAYOUT_CHUNK, LAYOUT_PLAIN, S_IF } from "./layout.ts";
import { type ErofsImage, invalidImage } from "./read.ts";
import type { InodeCursor } from "./read_inode.ts";

/** The permission bits of a mode. */
const PERMISSIONS = 0o7777;
const NSEC_LIMIT = 1_000_000_000;
const SLASH = 0x2f;
/** Longest content of a file in an image of format 2, bytes. */
const MAX_INLINE_V2 = 512;
/** Longest target of a symbolic link in an image of format 2, bytes. */
const MAX_SYMLINK_V2 = 1024;
/** The largest size that a tree can hold, bytes. */
const MAX_SIZE = 2 ** 53;
const MAX_EXACT_SIZE = BigInt(MAX_SIZE);

/** Builds leaves and the metadata of all nodes; one for the reading of one image. */
export class LeafReader {
  readonly #image: ErofsImage;
  readonly #xattrs: XattrReader;
  readonly #claims: Claims;
  readonly #scratch: Uint8Array = new Uint8Array(HASH_SIZE.sha512);
  #mtimeSec = 0n;
  /** The hash function of the image, once it is known. */
  hash: HashName | undefined;
  /** What the leaf built last has beyond the tree, if anything. */
  notes: LeafNotes | undefined;

  /** Creates a reader; without `hash` the first digest decides. */
  constructor(
    image: ErofsImage,
    xattrs: XattrReader,
    options: { readonly claims: Claims; readonly hash: HashName | undefined },
  ) {
    this.#image = image;
    this.#xattrs = xattrs;
    this.#claims = options.claims;
    this.hash = options.hash;
  }

  /** Whether the inode is a file that stands for a whiteout (spec: erofs 4.3, 8.3). */
  isEscapedWhiteout(inode: InodeCursor): boolean {
    return inode.type === S_IF.regular && inode.size === 0 && inode.layout === LAYOUT_PLAIN &&
      inode.xattrSize > 0 && this.#image.isEpoch1 && this.#xattrs.hasWhiteoutMark(inode);
  }

  /**
   * The metadata of an inode.
   *
   * @param marks attributes that the writer added and that are to be left out
   * @throws {FormatError} when the attributes are not readable
   */
  stat(inode: InodeCursor, marks: Parameters<XattrReader["read"]>[1]): Stat {
    const mtimeNsec = inode.mtimeNsec;
    if (mtimeNsec >= NSEC_LIMIT) {
      throw invalidImage(`mtime nanoseconds ${mtimeNsec} of inode ${inode.nid} are out of range`);
    }
    // Most inodes of an image have the same time; one big integer for all of them saves memory.
    const mtimeSec = inode.mtimeSec;
    if (mtimeSec !== this.#mtimeSec) this.#mtimeSec = mtimeSec;
    return {
      mode: inode.mode & PERMISSIONS,
      uid: inode.uid,
      gid: inode.gid,
      mtimeSec: this.#mtimeSec,
      mtimeNsec,
      xattrs: this.#xattrs.read(inode, marks),
    };
  }

  /**
   * The leaf of an inode that is not a directory and whose type exists.
   *
   * @param name the name it was reached by, for messages
   * @param escaped what {@linkcode LeafReader.isEscapedWhiteout} said
   * @throws {FormatError} when its content or attributes are not readable or contradict each other
   */
  leaf(inode: InodeCursor, name: () => ByteString, escaped: boolean): Leaf {
    this.notes = undefined;
    if (escaped) return new Leaf(this.stat(inode, WHITEOUT_MARKS), { type: "char", rdev: 0 });
    const stat = this.stat(inode, NO_MARKS);
    return new Leaf(stat, this.#content(inode, name));
  }

  #content(inode: InodeCursor, name: () => ByteString): LeafContent {
    switch (inode.type) {
      case S_IF.regular:
        return this.#regular(inode, name);
      case S_IF.symlink:
        return { type: "symlink", target: this.#target(inode, name) };
      case S_IF.block:
        return { type: "block", rdev: inode.union };
      case S_IF.char:
        return { type: "char", rdev: inode.union };
      case S_IF.fifo:
        return { type: "fifo" };
      default:
        return { type: "socket" };
    }
  }

  #regular(inode: InodeCursor, name: () => ByteString): LeafContent {
    const { metacopy, redirect } = this.#xattrs;
    if (metacopy !== undefined && metacopy.length > 0) {
      this.hash ??= hashOfMetacopy(metacopy.length) ?? "sha256";
      const digest = metacopyDigest(metacopy, this.hash);
      this.#noteRedirect(redirect, digest, name);
      return { type: "external", digest: objectIdFromBytes(digest), size: fileSize(inode, name) };
    }
    if (redirect !== undefined) {
      const digest = this.#redirectDigest(redirect);
      if (digest !== undefined) {
        this.#noteRedirect(redirect, digest, name);
        const id: ObjectId = objectIdFromBytes(digest);
        return { type: "external-no-verity", digest: id, size: fileSize(inode, name) };
      }
      this.notes = { redirect: withoutSlash(redirect) };
    }
    if (inode.layout === LAYOUT_CHUNK) return { type: "sparse", size: fileSize(inode, name) };
    if (!this.#image.isEpoch1 && inode.size > MAX_INLINE_V2) {
      throw new FormatError(
        "erofs",
        `inline regular file ${quoteName(name())} has size ${inode.exactSize} ` +
          `(max ${MAX_INLINE_V2})`,
      );
    }
    return { type: "inline", data: this.#data(inode) };
  }

  /** Compares the redirect with the digest and notes how it differs in what the tree cannot say. */
  #noteRedirect(
    redirect: Uint8Array | undefined,
    digest: Uint8Array,
    name: () => ByteString,
  ): void {
    if (redirect === undefined) {
      this.notes = { redirect: null };
      return;
    }
    if (isPathOf(redirect, digest)) return;
    const hash: HashName = digest.length === HASH_SIZE.sha256 ? "sha256" : "sha512";
    const scratch = this.#scratch;
    if (readObjectPath(redirect, hash, { bytes: scratch, offset: 0 })) {
      for (let i = 0; i < digest.length; i++) {
        if (scratch[i] === digest[i]) continue;
        throw invalidImage(
          `redirect of ${quoteName(name())} names another object than its metacopy`,
        );
      }
    }
    this.notes = { redirect: withoutSlash(redirect) };
  }

  /** The digest at the end of a redirect, valid until the next call. */
  #redirectDigest(redirect: Uint8Array): Uint8Array | undefined {
    // Longest first: the end of a long path could look like a short one.
    const hashes: readonly HashName[] = this.hash === undefined
      ? ["sha512", "sha256"]
      : [this.hash];
    for (const hash of hashes) {
      if (!readObjectPath(redirect, hash, { bytes: this.#scratch, offset: 0 })) continue;
      this.hash = hash;
      return this.#scratch.subarray(0, HASH_SIZE[hash]);
    }
    return undefined;
  }

  #target(inode: InodeCursor, name: () => ByteString): ByteString {
    if (!this.#image.isEpoch1 && inode.size > MAX_SYMLINK_V2) {
      throw new FormatError(
        "erofs",
        `symlink target for ${quoteName(name())} is ${inode.exactSize} bytes ` +
          `(max ${MAX_SYMLINK_V2})`,
      );
    }
    if (inode.layout === LAYOUT_CHUNK || inode.size === 0) {
      throw invalidImage(`symlink ${quoteName(name())} has no target`, inode.offset);
    }
    const data = this.#data(inode);
    if (data.includes(0)) {
      throw invalidImage(`symlink target for ${quoteName(name())} contains NUL`, inode.offset);
    }
    return toByteString(data);
  }

  /** The data of an inode; a view of the image unless it has both blocks and a tail. */
  #data(inode: InodeCursor): Uint8Array {
    const { bytes, blockSize } = this.#image;
    inode.loadBlocks();
    const { blockCount, size, tailSize } = inode;
    const blockBytes = blockCount * blockSize;
    this.#claims.spend(blockBytes);
    const start = inode.firstBlock * blockSize;
    if (tailSize === 0) return bytes.subarray(start, start + size);
    const tail = bytes.subarray(inode.tailOffset, inode.tailOffset + tailSize);
    if (blockCount === 0) return tail;
    const data = new Uint8Array(size);
    data.set(bytes.subarray(start, start + blockBytes));
    data.set(tail, blockBytes);
    return data;
  }
}

/** The size of a file whose content is elsewhere. */
function fileSize(inode: InodeCursor, name: () => ByteString): number {
  // Rounding cannot hide it: what is above 2^53 does not round below it.
  if (inode.size >= MAX_SIZE && inode.exactSize > MAX_EXACT_SIZE) {
    throw invalidImage(
      `size ${inode.exactSize} of ${quoteName(name())} is out of range`,
      inode.offset,
    );
  }
  return inode.size;
}

function withoutSlash(redirect: Uint8Array): ByteString {
  return toByteString(redirect[0] === SLASH ? redirect.subarray(1) : redirect);
}
