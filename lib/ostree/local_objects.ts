/** Files of the objects in a local repository, by its mode (spec: ostree 3). */
import {
  FormatError,
  fromByteString,
  NotFoundError,
  toByteString,
  UnsupportedError,
} from "../base/mod.ts";
import {
  ErrnoError,
  errnoNumber,
  Fd,
  fdXattrs,
  fstat,
  getXattr,
  isErrno,
  lstatAt,
  nameXattrs,
  O,
  preadFull,
  readlinkBytes,
  tryOpenNumber,
} from "../../ffi/mod.ts";
import { NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import type { Checksum } from "./checksum.ts";
import { parseMetaVariant, S_IFLNK, S_IFMT, S_IFREG } from "./dirmeta.ts";
import { checkFileHeader, type FileHeader } from "./file_header.ts";
import { MAX_METADATA_SIZE, type ObjectExtension, ostreeObjectPath } from "./object_kind.ts";
import { decodeVariant } from "./variant_read.ts";
import { xattrsFromVariant } from "./xattr_list.ts";

/** How a repository keeps its files. */
export type RepositoryMode =
  | "archive"
  | "bare"
  | "bare-user"
  | "bare-user-only"
  | "bare-split-xattrs";

/** The objects of one repository; plain data, so that it can be sent to a worker. */
export interface ObjectsPlace {
  /** Descriptor number of `objects/`. */
  readonly dir: number;
  /** How files are kept. */
  readonly mode: RepositoryMode;
}

/** A file object of a local repository, open for reading. */
export type LocalFile =
  | { readonly form: "archive"; readonly fd: Fd; readonly size: number }
  | { readonly form: "plain"; readonly fd: Fd; readonly header: FileHeader }
  | { readonly form: "symlink"; readonly header: FileHeader };

/** Attribute in which bare-user repositories keep owner, mode and attributes. */
export const USER_META = "user.ostreemeta";

const XATTR_LIST_TYPE = "a(ayay)";
const FORMAT = "ostree file";

/** Parses a mode of a repository's config. */
export function parseMode(text: string): RepositoryMode {
  switch (text) {
    case "archive-z2":
      return "archive";
    case "archive":
    case "bare":
    case "bare-user":
    case "bare-user-only":
    case "bare-split-xattrs":
      return text;
  }
  throw new UnsupportedError(`Invalid mode '${text}' in repository configuration`);
}

/** Opens a file of an object, `undefined` when it is not there. */
export function openObject(
  place: ObjectsPlace,
  checksum: Checksum,
  extension: ObjectExtension,
): Fd | undefined {
  // NONBLOCK: a pipe in a hostile repository must not stop us.
  const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
  const number = tryOpenNumber(place.dir, ostreeObjectPath(checksum, extension), { flags });
  if (number >= 0) return new Fd(number);
  if (number === -errnoNumber("ENOENT")) return undefined;
  throw new ErrnoError("open", -number, `objects/${ostreeObjectPath(checksum, extension)}`);
}

/** A whole file of an object, `undefined` when it is not there. */
export function readObject(
  place: ObjectsPlace,
  checksum: Checksum,
  extension: ObjectExtension,
): Uint8Array | undefined {
  using fd = openObject(place, checksum, extension);
  if (fd === undefined) return undefined;
  const stat = fstat(fd);
  if ((stat.mode & S_IFMT) !== S_IFREG || stat.size > MAX_METADATA_SIZE) {
    throw new FormatError(
      `ostree ${extension}`,
      `${extension} object ${checksum} is no proper file`,
    );
  }
  const bytes = new Uint8Array(Math.max(stat.size, 128));
  return bytes.subarray(0, preadFull(fd, bytes.subarray(0, stat.size), 0));
}

/**
 * Opens a file object.
 *
 * @returns undefined when it is not there
 * @throws {FormatError} when what is there is no file object
 */
export function openFileObject(place: ObjectsPlace, checksum: Checksum): LocalFile | undefined {
  if (place.mode === "archive") {
    const fd = openObject(place, checksum, "filez");
    return fd === undefined ? undefined : { form: "archive", fd, size: regularSize(fd, checksum) };
  }
  let fd: Fd | undefined;
  try {
    fd = openObject(place, checksum, "file");
  } catch (error) {
    if (!isErrno(error, "ELOOP") || place.mode === "bare-user") throw error;
    return { form: "symlink", header: symlinkHeader(place, checksum) };
  }
  if (fd === undefined) return undefined;
  try {
    return plainFile(place, checksum, fd);
  } catch (error) {
    fd.close();
    throw error;
  }
}

function plainFile(place: ObjectsPlace, checksum: Checksum, fd: Fd): LocalFile {
  const size = regularSize(fd, checksum);
  if (place.mode === "bare-user") return userFile(checksum, fd, size);
  const stat = fstat(fd);
  const own = place.mode === "bare-user-only";
  const header: FileHeader = {
    size,
    uid: own ? 0 : stat.uid,
    gid: own ? 0 : stat.gid,
    mode: stat.mode,
    target: "",
    xattrs: own
      ? NO_XATTRS
      : place.mode === "bare"
      ? inodeXattrs(fdXattrs(fd))
      : splitXattrs(place, checksum),
  };
  checkFileHeader(header);
  return { form: "plain", fd, header };
}

/** A file of a bare-user repository: the attribute says what it really is. */
function userFile(checksum: Checksum, fd: Fd, size: number): LocalFile {
  const raw = getXattr(fd, USER_META);
  if (raw === undefined) {
    throw new FormatError(FORMAT, `file object ${checksum} has no attribute ${USER_META}`);
  }
  const meta = parseMetaVariant(fromByteString(raw), { format: FORMAT });
  const link = (meta.mode & S_IFMT) === S_IFLNK;
  if (!link) {
    const header = { ...meta, size, target: "" };
    checkFileHeader(header);
    return { form: "plain", fd, header };
  }
  const bytes = new Uint8Array(8192);
  let target = toByteString(bytes.subarray(0, preadFull(fd, bytes, 0)));
  if (target.endsWith("\0")) target = target.slice(0, -1);
  if (target.includes("\0")) {
    throw new FormatError(FORMAT, `file object ${checksum} has a NUL in its target`);
  }
  const header = { ...meta, size: 0, target };
  checkFileHeader(header);
  fd.close();
  return { form: "symlink", header };
}

function symlinkHeader(place: ObjectsPlace, checksum: Checksum): FileHeader {
  const path = ostreeObjectPath(checksum, "file");
  const stat = lstatAt(place.dir, path);
  if (stat === undefined) throw new NotFoundError("file object", checksum);
  const own = place.mode === "bare-user-only";
  const header: FileHeader = {
    size: 0,
    uid: own ? 0 : stat.uid,
    gid: own ? 0 : stat.gid,
    mode: S_IFLNK | 0o777,
    target: readlinkBytes(place.dir, path),
    xattrs: own
      ? NO_XATTRS
      : place.mode === "bare"
      ? inodeXattrs(nameXattrs(place.dir, path))
      : splitXattrs(place, checksum),
  };
  checkFileHeader(header);
  return header;
}

/** Attributes as the kernel lists them: name, value, name, value, and so on. */
function inodeXattrs(list: readonly string[] | undefined): Xattrs {
  if (list === undefined) return NO_XATTRS;
  const out = new Map<string, string>();
  for (let i = 0; i + 1 < list.length; i += 2) out.set(list[i]!, list[i + 1]!);
  return out;
}

function splitXattrs(place: ObjectsPlace, checksum: Checksum): Xattrs {
  const bytes = readObject(place, checksum, "file-xattrs-link");
  if (bytes === undefined) throw new NotFoundError("file-xattrs-link object", checksum);
  return xattrsFromVariant(decodeVariant(XATTR_LIST_TYPE, bytes), { format: FORMAT });
}

function regularSize(fd: Fd, checksum: Checksum): number {
  const stat = fstat(fd);
  if ((stat.mode & S_IFMT) === S_IFREG) return stat.size;
  fd.close();
  throw new FormatError(FORMAT, `file object ${checksum} is no regular file`);
}

/** Closes what is open of a file object. */
export function closeFile(file: LocalFile): void {
  if (file.form !== "symlink") file.fd.close();
}
