/** Reading and writing the file `meta.json` (spec: repository 1.4, 3). */
import { type Algorithm, ComposefsError, FormatError, withContext } from "../base/mod.ts";
import {
  enableVerity,
  type Fd,
  fstat,
  fsync,
  isErrno,
  linkFd,
  measureVerity,
  O,
  openAt,
  openIfExists,
  openPath,
  openTmpfile,
  preadFull,
  unlinkAt,
  verityUnsupported,
  writeAll,
} from "../../ffi/mod.ts";
import { formatMetadata, type Metadata, parseMetadata } from "./meta.ts";

const META = "meta.json";
const MAX_META_SIZE = 1 << 20;

/** `meta.json` as it is on disk. */
export interface MetadataFile {
  /** Its content. */
  readonly meta: Metadata;
  /** Whether it has fs-verity enabled, which makes the repository a secure one. */
  readonly secure: boolean;
}

/**
 * Reads `meta.json`; `undefined` when there is none.
 *
 * @throws {ComposefsError} when it is invalid or has fs-verity of another algorithm
 */
export function readMetadataFile(root: Fd): MetadataFile | undefined {
  using fd = openIfExists(root, META, { flags: O.RDONLY | O.NOFOLLOW | O.NONBLOCK });
  if (fd === undefined) return undefined;
  const stat = fstat(fd);
  if (!stat.isFile || stat.size > MAX_META_SIZE) {
    throw new FormatError(META, `${META} is not a file of at most ${MAX_META_SIZE} bytes`);
  }
  const bytes = new Uint8Array(Math.max(4096, stat.size));
  const meta = parseMetadata(bytes.subarray(0, preadFull(fd, bytes, 0)));
  const measured = measureVerity(fd, meta.algorithm);
  return { meta, secure: measured !== "missing" && measured !== "unsupported" };
}

/**
 * Writes `meta.json`, durable before it has its name; never replaces one.
 *
 * @param options.secure enable fs-verity on it
 * @throws {ComposefsError} when the file exists, or when fs-verity is wanted and not to be had
 */
export function writeMetadataFile(root: Fd, meta: Metadata, options: { secure: boolean }): void {
  const text = new TextEncoder().encode(formatMetadata(meta));
  const bytes = new Uint8Array(4096).subarray(0, text.length);
  bytes.set(text);
  let named = false;
  let file: Fd;
  try {
    file = openTmpfile(root);
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP", "EISDIR", "ENOSYS")) throw error;
    file = openAt(root, META, { flags: O.CREAT | O.EXCL | O.RDWR, mode: 0o644 });
    named = true;
  }
  let sealed: Fd | undefined;
  try {
    writeAll(file, bytes, META);
    fsync(file);
    sealed = openPath(file.procPath, { flags: O.RDONLY });
    file.close();
    if (options.secure) enable(sealed, meta.algorithm);
    if (!named && !linkFd(sealed, root, META)) {
      throw new ComposefsError("CFS_CONFLICT", `${META} exists already`);
    }
  } catch (error) {
    if (named) unlinkAt(root, META);
    throw withContext(`Cannot write ${META}`, error);
  } finally {
    file.close();
    sealed?.close();
  }
}

function enable(fd: Fd, algorithm: Algorithm): void {
  const result = enableVerity(fd, algorithm);
  if (result === "unsupported") throw verityUnsupported();
  if (result === "busy") throw new ComposefsError("CFS_FAILED", `${META} is open for writing`);
}

/** Removes `meta.json`. */
export function removeMetadataFile(root: Fd): void {
  unlinkAt(root, META);
}
