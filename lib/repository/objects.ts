/** The object store: content named by its fs-verity digest (spec: repository 1.4, 6). */
import {
  type Algorithm,
  ComposefsError,
  DigestMismatchError,
  FormatError,
  NotFoundError,
  type ObjectId,
  objectPath,
  parseObjectId,
  PolicyError,
} from "../base/mod.ts";
import {
  carved,
  type DirEntry,
  type Fd,
  fstat,
  isErrno,
  measureVerity,
  O,
  openDir,
  openIfExists,
  openOrMakeDir,
  preadFull,
  readDir,
  sizeAt,
  unlinkAt,
} from "../../ffi/mod.ts";
import type { ObjectFile, StoredObject } from "./object_file.ts";
import { ObjectDirectory } from "./object_write.ts";

/** Largest object that {@linkcode ObjectReader.read} takes into memory: the largest image. */
export const MAX_BUFFERED_OBJECT = 2 ** 30;

const PIECE = 1 << 20;

/** Reads objects. */
export interface ObjectReader {
  /** Algorithm that names the objects. */
  readonly algorithm: Algorithm;
  /** Size in bytes of an object, `undefined` when it is not there. */
  size(id: ObjectId): number | undefined;
  /**
   * A whole object, always verified: by the kernel where fs-verity is enabled, else by hashing.
   *
   * @param options.maxSize largest size in bytes to accept
   * @throws {NotFoundError} when it is not there
   * @throws {DigestMismatchError} when its content is not what its name says
   */
  read(id: ObjectId, options?: { maxSize?: number }): Uint8Array<ArrayBuffer>;
  /**
   * The content in pieces of at most 1 MiB, each valid until the next one is asked for.
   *
   * @param options.verify hash along where the kernel does not verify, and throw at the end when the
   * content is not what the name says; what came before was then wrong
   */
  pieces(id: ObjectId, options?: { verify?: boolean }): Iterable<Uint8Array>;
}

/** An object that is being written. */
export interface ObjectSink extends Disposable {
  /** Adds content. */
  write(bytes: Uint8Array): void;
  /** Names the object by its digest. */
  finish(): StoredObject;
}

/** Adds objects; adding what is there already is no error and repairs what is visibly damaged. */
export interface ObjectWriter extends ObjectReader {
  /** Stores content that is in memory. */
  write(bytes: Uint8Array): StoredObject;
  /** Starts an object whose content comes in pieces. */
  begin(): ObjectSink;
}

/** Lists and removes objects. */
export interface ObjectPruner extends ObjectWriter {
  /** All objects, sorted by id. */
  list(): Iterable<ObjectId>;
  /** Removes an object; false when it was not there. */
  remove(id: ObjectId): boolean;
}

/** A file below `objects/` whose name no object has. */
export interface StrayFile {
  /** Path relative to the repository. */
  readonly path: string;
  /** Why it is no object. */
  readonly reason: string;
}

/** Objects in a directory. */
export class DiskObjectStore implements ObjectPruner, Disposable {
  readonly algorithm: Algorithm;
  readonly #root: Fd;
  readonly #secure: boolean;
  #dir: Fd | undefined;
  #writer: ObjectDirectory | undefined;
  /** Buffer for pieces that nobody reads from at the moment. */
  #spare: Uint8Array | undefined;

  /** Opens the store of the repository whose directory is `root`. */
  constructor(root: Fd, options: { algorithm: Algorithm; secure: boolean }) {
    this.#root = root;
    this.algorithm = options.algorithm;
    this.#secure = options.secure;
  }

  /** Descriptor of `objects/`, `undefined` while there is no object at all. */
  get directory(): Fd | undefined {
    if (this.#dir === undefined) {
      try {
        this.#dir = openDir(this.#root, "objects");
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw error;
      }
    }
    return this.#dir;
  }

  /** Descriptor of `objects/`, which is made when it is missing. */
  makeDirectory(): Fd {
    return this.directory ?? (this.#dir = openOrMakeDir(this.#root, "objects", 0o755));
  }

  #writing(): ObjectDirectory {
    return this.#writer ??= new ObjectDirectory({
      dir: this.makeDirectory().number,
      algorithm: this.algorithm,
      secure: this.#secure,
    });
  }

  size(id: ObjectId): number | undefined {
    const dir = this.directory;
    if (dir === undefined) return undefined;
    const size = sizeAt(dir, objectPath(id));
    return size < 0 ? undefined : size;
  }

  /**
   * Opens an object for reading, checked as far as the kernel can.
   *
   * @throws {NotFoundError} when it is not there
   * @throws {PolicyError} when fs-verity is required and not enabled on it
   * @throws {DigestMismatchError} when the kernel measures another digest
   */
  open(id: ObjectId): { fd: Fd; verified: boolean } {
    const dir = this.directory;
    // O_NONBLOCK: a fifo in the place of an object must not make us wait for ever.
    const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
    const fd = dir && openIfExists(dir, objectPath(id), { flags });
    if (fd === undefined) throw new NotFoundError("object", id);
    try {
      const measured = measureVerity(fd, this.algorithm);
      if (measured === "missing" || measured === "unsupported") {
        if (this.#secure) throw new PolicyError(`Object ${id} has no fs-verity`);
        return { fd, verified: false };
      }
      if (measured !== id) throw new DigestMismatchError("object", id, measured);
      return { fd, verified: true };
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /**
   * As {@linkcode ObjectReader.read} says.
   *
   * @param options.verify false leaves out the hashing, to look at what is known to be damaged
   */
  read(
    id: ObjectId,
    options: { maxSize?: number; verify?: boolean } = {},
  ): Uint8Array<ArrayBuffer> {
    const { fd, verified } = this.open(id);
    using _fd = fd;
    const size = fstat(fd).size;
    const limit = options.maxSize ?? MAX_BUFFERED_OBJECT;
    if (size > limit) {
      throw new FormatError("object", `Object ${id} has ${size} bytes, more than ${limit}`);
    }
    // Carved from at least a page, so that its address can be taken for hashing.
    const bytes = new Uint8Array(new ArrayBuffer(Math.max(size, 4096)), 0, size);
    if (preadFull(fd, bytes, 0) !== size) {
      throw new FormatError("object", `Object ${id} changed its size while it was read`);
    }
    if (!verified && options.verify !== false) {
      const actual = this.#hashing().idOf(bytes);
      if (actual !== id) throw new DigestMismatchError("object", id, actual);
    }
    return bytes;
  }

  #hash: ObjectDirectory | undefined;

  /** Hashing only: works on repositories without `objects/` and on read-only ones. */
  #hashing(): ObjectDirectory {
    return this.#hash ??= new ObjectDirectory({
      dir: -1,
      algorithm: this.algorithm,
      secure: this.#secure,
    });
  }

  *pieces(
    id: ObjectId,
    options: { verify?: boolean } = {},
  ): Generator<Uint8Array, void, undefined> {
    const { fd, verified } = this.open(id);
    using _fd = fd;
    // Most objects are small: a fresh megabyte for each would cost more than reading it.
    const piece = this.#spare ?? new Uint8Array(PIECE);
    this.#spare = undefined;
    try {
      for (let offset = 0;;) {
        const got = preadFull(fd, piece, offset);
        if (got > 0) yield piece.subarray(0, got);
        offset += got;
        if (got < piece.length) break;
      }
    } finally {
      this.#spare = piece;
    }
    if (options.verify && !verified) {
      const actual = this.#hashing().idOfFile(fd);
      if (actual !== id) throw new DigestMismatchError("object", id, actual);
    }
  }

  /**
   * Opens an object that is what its name says, by the kernel's word or by hashing what is open.
   *
   * @throws {NotFoundError} when it is not there
   * @throws {PolicyError} when fs-verity is required and not enabled on it
   * @throws {DigestMismatchError} when it has another digest
   */
  openVerified(id: ObjectId): Fd {
    const { fd, verified } = this.open(id);
    try {
      const actual = verified ? id : this.#hashing().idOfFile(fd);
      if (actual !== id) throw new DigestMismatchError("object", id, actual);
      return fd;
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** Whether an object is there and what its name says, as {@linkcode openVerified} finds out. */
  isSound(id: ObjectId): boolean {
    try {
      this.openVerified(id).close();
      return true;
    } catch (error) {
      if (error instanceof ComposefsError) return false;
      throw error;
    }
  }

  write(bytes: Uint8Array): StoredObject {
    return this.#writing().store(carved(bytes), { thorough: true });
  }

  begin(): ObjectFile {
    return this.#writing().begin();
  }

  *list(): Generator<ObjectId, void, undefined> {
    for (const entry of this.entries()) {
      if (typeof entry === "string") yield entry;
    }
  }

  /**
   * Tells which objects were there at one moment, for callers that ask about thousands: each
   * subdirectory is read once, when it is first asked about.
   */
  snapshot(): (id: ObjectId) => boolean {
    const names = new Map<string, Set<string>>();
    return (id) => {
      const prefix = id.slice(0, 2);
      let there = names.get(prefix);
      if (there === undefined) {
        there = new Set();
        for (const entry of this.#names(prefix)) there.add(entry.name);
        names.set(prefix, there);
      }
      return there.has(id.slice(2));
    };
  }

  /** Names in `objects/<prefix>/`, in the file system's order. */
  #names(prefix: string): DirEntry[] {
    const dir = this.directory;
    if (dir === undefined) return [];
    try {
      using fd = openDir(dir, prefix);
      return readDir(fd);
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) return [];
      throw error;
    }
  }

  /** Everything below `objects/`, sorted: ids of objects, and files that are none. */
  *entries(): Generator<ObjectId | StrayFile, void, undefined> {
    const dir = this.directory;
    if (dir === undefined) return;
    for (const { name } of readDir(dir).sort(byName)) {
      if (!/^[0-9a-f]{2}$/.test(name)) {
        yield { path: `objects/${name}`, reason: "not a directory of objects" };
        continue;
      }
      yield* this.subdirectory(name);
    }
  }

  /** What is in `objects/<prefix>/`, sorted. */
  *subdirectory(prefix: string): Generator<ObjectId | StrayFile, void, undefined> {
    const dir = this.directory;
    if (dir === undefined) return;
    let names;
    try {
      using fd = openDir(dir, prefix);
      names = readDir(fd).sort(byName);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      if (!isErrno(error, "ENOTDIR")) throw error;
      yield { path: `objects/${prefix}`, reason: "not a directory" };
      return;
    }
    for (const { name } of names) {
      const stray = objectNameFault(name, this.algorithm);
      if (stray === undefined) yield parseObjectId(prefix + name, this.algorithm.hash);
      else yield { path: `objects/${prefix}/${name}`, reason: stray };
    }
  }

  remove(id: ObjectId): boolean {
    const dir = this.directory;
    return dir !== undefined && unlinkAt(dir, objectPath(id));
  }

  /** Closes the descriptor of `objects/`. */
  [Symbol.dispose](): void {
    this.#dir?.close();
    this.#dir = undefined;
    this.#writer = undefined;
  }
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** Why a name below `objects/XX/` is not an object's, in the reference's words. */
export function objectNameFault(name: string, algorithm: Algorithm): string | undefined {
  if (name.length !== algorithm.size * 2 - 2) return "Invalid string length";
  const bad = name.search(/[^0-9a-f]/);
  return bad < 0 ? undefined : `Invalid character '${name[bad]}' at position ${bad}`;
}
