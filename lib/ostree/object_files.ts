/** Writing objects into a local OSTree repository of any mode (spec: ostree 3, 5). */
import { fromByteString, toByteString } from "../base/mod.ts";
import {
  carved,
  chmodAt,
  chownAt,
  type Fd,
  isErrno,
  linkAt,
  lstatAt,
  mkdirAt,
  O,
  openAt,
  reflink,
  renameNoReplace,
  setXattr,
  symlinkAt,
  unlinkAt,
  utimeAt,
  writeAll,
} from "../../ffi/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import { encodeDirMeta, S_IFMT } from "./dirmeta.ts";
import { encodeArchiveHeader, type FileHeader, isSymlink } from "./file_header.ts";
import { type RepositoryMode, USER_META } from "./local_objects.ts";
import { corruptedObject, type ObjectExtension, ostreeObjectPath } from "./object_kind.ts";
import { RawDeflater } from "./raw_deflate.ts";
import { encodeVariant } from "./variant_write.ts";
import { xattrsToVariant } from "./xattr_list.ts";

/** Content of a file that is written. */
export interface FileContent {
  /** Size in bytes. */
  readonly size: number;
  /** The object that holds it, whose blocks may be shared. */
  readonly fd: Fd | undefined;
  /** The content in pieces, each valid until the next one is asked for. */
  pieces(): Iterable<Uint8Array>;
  /** Takes note of content; called with every piece in order. */
  update(bytes: Uint8Array): void;
  /** Checksum of header and content after all pieces. */
  checksum(): Checksum;
}

/** What an attempt to write an object came to. */
export type WriteOutcome = "present" | "copied" | "cloned";

/** Puts objects into a repository; each gets its name when it is complete and checked. */
export class ObjectFiles implements Disposable {
  readonly #objects: Fd;
  readonly #tmp: Fd;
  readonly #mode: RepositoryMode;
  readonly #directories = new Set<string>();
  #deflater: RawDeflater | undefined;
  #clones = true;
  /** Other threads write to the same directory. */
  readonly #token = crypto.randomUUID();
  #counter = 0;

  /** Writes to `objects/`, with temporary files in `tmp/`. */
  constructor(objects: Fd, options: { tmp: Fd; mode: RepositoryMode }) {
    this.#objects = objects;
    this.#tmp = options.tmp;
    this.#mode = options.mode;
  }

  /** Whether a file object is there. */
  hasFile(checksum: Checksum): boolean {
    return this.#has(checksum, this.#mode === "archive" ? "filez" : "file") &&
      (this.#mode !== "bare-split-xattrs" || this.#has(checksum, "file-xattrs-link"));
  }

  #has(checksum: Checksum, extension: ObjectExtension): boolean {
    return lstatAt(this.#objects, ostreeObjectPath(checksum, extension)) !== undefined;
  }

  /** Writes an object that is stored as it is. */
  metadata(checksum: Checksum, extension: ObjectExtension, bytes: Uint8Array): WriteOutcome {
    if (this.#has(checksum, extension)) return "present";
    using file = this.#temporary();
    using fd = this.#create(file.name);
    writeAll(fd, carved(bytes), file.name);
    this.#finish(file, checksum, extension);
    return "copied";
  }

  /**
   * Writes a file object.
   *
   * @throws {DigestMismatchError} when the content is not what the checksum says
   */
  file(checksum: Checksum, header: FileHeader, content: FileContent): WriteOutcome {
    if (this.hasFile(checksum)) return "present";
    if (this.#mode === "archive") return this.#archive(checksum, header, content);
    using file = this.#temporary();
    let outcome: WriteOutcome = "copied";
    if (isSymlink(header)) {
      verify(checksum, content);
      this.#symlink(file.name, header);
    } else {
      using fd = this.#create(file.name);
      if (this.#clone(content, fd)) outcome = "cloned";
      for (const piece of content.pieces()) {
        content.update(piece);
        if (outcome === "copied") writeAll(fd, carved(piece), file.name);
      }
      verify(checksum, content);
    }
    this.#attributes(file.name, header);
    if (this.#mode === "bare-split-xattrs") this.#splitXattrs(checksum, header);
    this.#finish(file, checksum, "file");
    return outcome;
  }

  #clone(content: FileContent, to: Fd): boolean {
    if (!this.#clones || content.fd === undefined || content.size === 0) return false;
    return this.#clones = reflink(content.fd, to);
  }

  #symlink(name: string, header: FileHeader): void {
    if (this.#mode !== "bare-user") {
      return symlinkAt(fromByteString(header.target), this.#tmp, name);
    }
    using fd = this.#create(name);
    writeAll(fd, carved(fromByteString(header.target + "\0")), name);
  }

  /** Owner, mode, attributes and time, as the mode of the repository keeps them. */
  #attributes(name: string, header: FileHeader): void {
    const link = isSymlink(header);
    const path = `${this.#tmp.procPath}/${name}`;
    if (this.#mode === "bare-user") {
      setXattr(path, USER_META, toByteString(encodeDirMeta(header)));
      // Readable by us and executable as it should be; never set-user-id.
      chmodAt(this.#tmp, name, link ? 0o644 : (header.mode & 0o775) | 0o400);
    } else if (this.#mode === "bare-user-only") {
      if (!link) chmodAt(this.#tmp, name, header.mode & 0o7777);
    } else {
      chownAt(this.#tmp, name, header);
      if (!link) chmodAt(this.#tmp, name, header.mode & 0o7777);
      if (this.#mode === "bare") {
        for (const [key, value] of header.xattrs) setXattr(path, key, value);
      }
    }
    utimeAt(this.#tmp, name, { sec: 0n, nsec: 0 });
  }

  /** The blob with a file's attributes, and the link to it. */
  #splitXattrs(checksum: Checksum, header: FileHeader): void {
    const bytes = encodeVariant("a(ayay)", xattrsToVariant(header.xattrs));
    const blob = checksumOf(bytes);
    this.metadata(blob, "file-xattrs", bytes);
    this.#link(blob, "file-xattrs", checksum, "file-xattrs-link");
  }

  #link(
    from: Checksum,
    fromExtension: ObjectExtension,
    to: Checksum,
    extension: ObjectExtension,
  ): void {
    this.#makeDirectory(to);
    const source = ostreeObjectPath(from, fromExtension);
    try {
      linkAt(this.#objects, source, this.#objects, ostreeObjectPath(to, extension));
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error; // another writer made the same link
    }
  }

  #archive(checksum: Checksum, header: FileHeader, content: FileContent): WriteOutcome {
    using file = this.#temporary();
    using fd = this.#create(file.name);
    writeAll(fd, carved(encodeArchiveHeader(header)), file.name);
    if (!isSymlink(header)) {
      const write = (bytes: Uint8Array) => writeAll(fd, carved(bytes), file.name);
      this.#deflater ??= new RawDeflater();
      for (const packed of this.#deflater.pack(noted(content), content.size)) write(packed);
    }
    verify(checksum, content);
    utimeAt(this.#tmp, file.name, { sec: 0n, nsec: 0 });
    this.#finish(file, checksum, "filez");
    return "copied";
  }

  #create(name: string): Fd {
    return openAt(this.#tmp, name, { flags: O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW, mode: 0o644 });
  }

  #temporary(): TemporaryName {
    return new TemporaryName(this.#tmp, `cfs-${this.#token}-${this.#counter++}`);
  }

  #makeDirectory(checksum: Checksum): void {
    const prefix = checksum.slice(0, 2);
    if (this.#directories.has(prefix)) return;
    mkdirAt(this.#objects, prefix, 0o775);
    this.#directories.add(prefix);
  }

  /** Gives what it took back; the directories stay open. */
  [Symbol.dispose](): void {
    this.#deflater?.[Symbol.dispose]();
  }

  /** Gives a complete file its name; another writer may have been faster. */
  #finish(file: TemporaryName, checksum: Checksum, extension: ObjectExtension): void {
    this.#makeDirectory(checksum);
    const path = ostreeObjectPath(checksum, extension);
    if (renameNoReplace(this.#tmp, file.name, this.#objects, path)) file.moved = true;
  }
}

/** A name in `tmp/` that is removed again unless its file was moved away. */
class TemporaryName implements Disposable {
  readonly #dir: Fd;
  readonly name: string;
  moved = false;

  constructor(dir: Fd, name: string) {
    this.#dir = dir;
    this.name = name;
  }

  [Symbol.dispose](): void {
    if (!this.moved) unlinkAt(this.#dir, this.name);
  }
}

function* noted(content: FileContent): Generator<Uint8Array, void, undefined> {
  for (const piece of content.pieces()) {
    content.update(piece);
    yield piece;
  }
}

function verify(checksum: Checksum, content: FileContent): void {
  const actual = content.checksum();
  if (actual !== checksum) throw corruptedObject("file", checksum, actual);
}

/** Why a file cannot be in a bare-user-only repository; undefined when it can. */
export function notCanonical(header: FileHeader): string | undefined {
  if (header.uid !== 0) return `has uid ${header.uid}`;
  if (header.gid !== 0) return `has gid ${header.gid}`;
  if (header.xattrs.size > 0) return "has extended attributes";
  const bits = header.mode & ~S_IFMT & 0o7777;
  if (!isSymlink(header) && (bits & ~0o775) !== 0) return `has mode 0${bits.toString(8)}`;
  if (isSymlink(header) && bits !== 0o777) return `has mode 0${bits.toString(8)}`;
  return undefined;
}
