import {
  type Algorithm,
  DigestMismatchError,
  type HashProvider,
  type ObjectId,
  objectIdFromBytes,
  objectPath,
} from "../base/mod.ts";
import { FsVerityHasher } from "../fsverity/mod.ts";
import {
  enableVerity,
  ErrnoError,
  errnoNumber,
  Fd,
  isErrno,
  linkFd,
  measureVerity,
  mkdirAt,
  O,
  openAt,
  openIfExists,
  pread,
  reflink,
  renameAt,
  sizeAt,
  systemHash,
  tryOpenNumber,
  unlinkAt,
  verityUnsupported,
  writeAll,
} from "../../ffi/mod.ts";
import { randomName } from "./names.ts";
import { ObjectFile, type StoredObject } from "./object_file.ts";
import { pieceBuffer, Temporary } from "./temporary.ts";

/** How an object directory is written; plain data, so that it can be sent to a worker. */
export interface ObjectDirectoryOptions {
  /** Descriptor number of `objects/`; valid in every thread of the process. */
  readonly dir: number;
  /** Algorithm of the repository. */
  readonly algorithm: Algorithm;
  /** Whether every object must have fs-verity enabled. */
  readonly secure: boolean;
  /** Always compare an existing object's content, not just its size. @default false */
  readonly thorough?: boolean;
  /** Objects of which that is done in any case: they are known to have been damaged. */
  readonly suspects?: readonly ObjectId[];
}

/** Prefix of named temporary files, where the file system has no unnamed ones. */
export const TMP_OBJECT_PREFIX = ".tmp-object-";

/** Objects above this many bytes are always looked for first: writing them for nothing is dear. */
const LOOK_SIZE = 256 * 1024;
/** Share of objects that must have been there lately for looking to pay. */
const LOOK_HITS = 0.2;
/** Objects over which that share is taken. */
const LOOK_WINDOW = 32;

/**
 * Writes objects into `objects/` (spec: repository 6). Synchronous and without shared state, so
 * that every worker has its own over the same descriptor.
 */
export class ObjectDirectory {
  readonly #dir: number;
  readonly #algorithm: Algorithm;
  readonly #secure: boolean;
  readonly #thorough: boolean;
  readonly #suspects: ReadonlySet<ObjectId>;
  readonly #hasher: FsVerityHasher;
  readonly #digest: Uint8Array = new Uint8Array(128);
  #unnamed = true;
  #hits = 1;
  /** Whether enabling fs-verity is worth a try; an insecure repository stops after the first no. */
  #verity = true;
  /** Whether sharing blocks with other files is worth a try. */
  #clones = true;

  /** Creates a writer; `hash` defaults to the fastest there is. */
  constructor(options: ObjectDirectoryOptions, hash: HashProvider = systemHash()) {
    this.#dir = options.dir;
    this.#algorithm = options.algorithm;
    this.#secure = options.secure;
    this.#thorough = options.thorough ?? false;
    this.#suspects = new Set(options.suspects);
    this.#hasher = new FsVerityHasher(options.algorithm, hash);
  }

  /** The id that content would have; `bytes` carved from a buffer of more than 64 bytes. */
  idOf(bytes: Uint8Array, start = 0, end: number = bytes.length): ObjectId {
    this.#hasher.updateRange(bytes, start, end);
    this.#hasher.digestInto(this.#digest, 0);
    return objectIdFromBytes(this.#digest, 0, this.#algorithm.size);
  }

  /**
   * Stores content that is in memory. `bytes` must be carved from a buffer of more than 64 bytes.
   *
   * @param options.thorough compare an existing object's content, not just its size
   * @param options.id the content's id, when the caller has it from the same bytes
   */
  store(
    bytes: Uint8Array,
    options: { start?: number; end?: number; thorough?: boolean; id?: ObjectId } = {},
  ): StoredObject {
    const start = options.start ?? 0;
    const end = options.end ?? bytes.length;
    const id = options.id ?? this.idOf(bytes, start, end);
    const size = end - start;
    const path = objectPath(id);
    const thorough = options.thorough ?? false;
    const looked = this.#worthLooking(size);
    const found = looked ? sizeAt(this.#dir, path) : -1;
    if (found >= 0 && this.#intact(id, { found, size, thorough })) {
      this.#remember(true);
      return { id, size, outcome: "present" };
    }
    using file = this.#create();
    writeAll(file.fd, bytes.subarray(start, end), path);
    const stored = this.#publish(file, { id, size, damaged: found >= 0 });
    this.#remember(stored.outcome === "present");
    if (looked || stored.outcome !== "present") return stored;
    const there = sizeAt(this.#dir, path);
    if (this.#intact(id, { found: there, size, thorough })) return stored;
    return this.#publish(file, { id, size, damaged: true });
  }

  /**
   * Whether to look for an object before writing it. Looking costs a third of writing a small file,
   * so where next to nothing is there already, the name that is taken tells just as well.
   */
  #worthLooking(size: number): boolean {
    return size > LOOK_SIZE || this.#hits > LOOK_HITS;
  }

  /** Keeps a sliding share of objects that were there already, between 0 and 1. */
  #remember(hit: boolean): void {
    this.#hits += ((hit ? 1 : 0) - this.#hits) / LOOK_WINDOW;
  }

  /** Starts a file whose content comes in pieces; memory does not grow with its size. */
  begin(): ObjectFile {
    return this.#object(this.#create(), { shared: false });
  }

  /**
   * Starts an object that shares the blocks of a file: the content is there, but has to be read and
   * given to it all the same, so that its digest is known.
   *
   * @returns undefined where the file systems cannot do that, which is not tried again
   */
  clone(source: Fd | number): ObjectFile | undefined {
    if (!this.#clones) return undefined;
    const file = this.#create();
    try {
      this.#clones = reflink(source, file.fd);
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
    if (this.#clones) return this.#object(file, { shared: true });
    file[Symbol.dispose]();
    return undefined;
  }

  #object(file: Temporary, options: { shared: boolean }): ObjectFile {
    return new ObjectFile(file.fd, {
      algorithm: this.#algorithm,
      shared: options.shared,
      finish: (id, size) => this.#finishFile(file, id, size),
      abort: () => file[Symbol.dispose](),
    });
  }

  /**
   * Gives a file that holds an object of another repository a second name here.
   *
   * @param source read-only descriptor whose content was verified to have this id
   * @returns undefined where the file systems cannot do that
   */
  adopt(source: Fd, object: { id: ObjectId; size: number }): StoredObject | undefined {
    const { id, size } = object;
    const path = objectPath(id);
    const found = sizeAt(this.#dir, path);
    if (found >= 0 && this.#intact(id, { found, size, thorough: false })) {
      return { id, size, outcome: "present" };
    }
    if (this.#secure) {
      const measured = measureVerity(source, this.#algorithm);
      if (measured !== id) return undefined; // nothing that is written here could protect it
    }
    const name = found >= 0 ? TMP_OBJECT_PREFIX + randomName() : path;
    try {
      if (found < 0) mkdirAt(this.#dir, path.slice(0, 2), 0o755);
      if (!linkFd(source, this.#dir, name)) return { id, size, outcome: "present" };
    } catch (error) {
      if (!isErrno(error, "EXDEV", "EPERM", "EMLINK", "ENOENT", "EOPNOTSUPP")) throw error;
      return undefined;
    }
    if (found < 0) return { id, size, outcome: "new" };
    renameAt(this.#dir, name, this.#dir, path);
    return { id, size, outcome: "repaired" };
  }

  #finishFile(file: Temporary, computed: ObjectId, size: number): StoredObject {
    using _file = file;
    const found = sizeAt(this.#dir, objectPath(computed));
    if (found >= 0 && this.#intact(computed, { found, size, thorough: false })) {
      return { id: computed, size, outcome: "present" };
    }
    return this.#publish(file, { id: computed, size, damaged: found >= 0 });
  }

  /** Whether the object that is there can stand for the content at hand. */
  #intact(id: ObjectId, check: { found: number; size: number; thorough: boolean }): boolean {
    if (check.found !== check.size) return false;
    const thorough = this.#secure || this.#thorough || check.thorough || this.#suspects.has(id);
    if (!thorough) return true;
    const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
    using fd = openIfExists(this.#dir, objectPath(id), { flags });
    if (fd === undefined) return false;
    const measured = measureVerity(fd, this.#algorithm);
    if (measured !== "missing" && measured !== "unsupported") return measured === id;
    return !this.#secure && this.idOfFile(fd) === id;
  }

  /** The id of an open file's content, computed in user space. */
  idOfFile(fd: Fd | number): ObjectId {
    const hasher = this.#hasher;
    hasher.reset();
    const piece = pieceBuffer();
    // A regular file gives all it has; a read that falls short has met its end.
    for (let offset = 0, got = piece.length; got === piece.length; offset += got) {
      got = pread(fd, piece, offset);
      hasher.updateRange(piece, 0, got);
    }
    hasher.digestInto(this.#digest, 0);
    return objectIdFromBytes(this.#digest, 0, this.#algorithm.size);
  }

  /** A new temporary file in `objects/`. */
  #create(): Temporary {
    if (this.#unnamed) {
      const flags = O.TMPFILE | O.RDWR;
      const number = tryOpenNumber(this.#dir, ".", { flags, mode: 0o644 });
      if (number >= 0) return new Temporary(this.#dir, new Fd(number));
      const error = new ErrnoError("open", -number, "objects");
      if (!error.is("EOPNOTSUPP", "EISDIR", "ENOSYS")) throw error;
      this.#unnamed = false;
    }
    for (let tries = 0;; tries++) {
      const name = TMP_OBJECT_PREFIX + randomName();
      try {
        const flags = O.CREAT | O.EXCL | O.RDWR;
        return new Temporary(this.#dir, openAt(this.#dir, name, { flags, mode: 0o644 }), name);
      } catch (error) {
        if (tries >= 16 || !isErrno(error, "EEXIST")) throw error;
      }
    }
  }

  /** Gives a complete temporary file its name, with fs-verity enabled where it belongs. */
  #publish(
    file: Temporary,
    object: { id: ObjectId; size: number; damaged: boolean },
  ): StoredObject {
    const { id, size } = object;
    if (this.#verity) this.#protect(file, id);
    const path = objectPath(id);
    if (object.damaged) {
      this.#replace(file, path);
      return { id, size, outcome: "repaired" };
    }
    return { id, size, outcome: this.#link(file, path) ? "new" : "present" };
  }

  #link(file: Temporary, path: string): boolean {
    try {
      return file.linkTo(path);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      mkdirAt(this.#dir, path.slice(0, 2), 0o755);
      return file.linkTo(path);
    }
  }

  /** Puts a good object in the place of a damaged one, in one step. */
  #replace(file: Temporary, path: string): void {
    const name = TMP_OBJECT_PREFIX + randomName();
    if (!this.#link(file, name)) throw new ErrnoError("linkat", errnoNumber("EEXIST"), name);
    try {
      renameAt(this.#dir, name, this.#dir, path);
    } catch (error) {
      unlinkAt(this.#dir, name);
      throw error;
    }
  }

  /** Enables fs-verity on the finished file and checks the kernel's digest against ours. */
  #protect(file: Temporary, id: ObjectId): void {
    file.seal();
    for (;;) {
      const result = this.#enable(file.fd);
      if (result === "busy") {
        // Somebody forked while we had it open for writing; a copy has never been open elsewhere.
        file.copyAnew();
        continue;
      }
      if (result === "unsupported") {
        if (this.#secure) throw verityUnsupported();
        this.#verity = false;
        return;
      }
      break;
    }
    const measured = measureVerity(file.fd, this.#algorithm);
    if (measured !== id) throw new DigestMismatchError("object", id, measured);
  }

  /** Enables fs-verity; tries again for a short while when the file is open for writing. */
  #enable(fd: Fd): "enabled" | "already" | "unsupported" | "busy" {
    for (let tries = 1;; tries++) {
      const result = enableVerity(fd, this.#algorithm);
      if (result !== "busy" || tries === 3) return result;
      pause(1);
    }
  }
}

const pauseCell = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread for some milliseconds. */
function pause(milliseconds: number): void {
  Atomics.wait(pauseCell, 0, 0, milliseconds);
}
