/** Blobs as files of a directory: what layouts and `dir:` have in common. */
import { ComposefsError, type Digest, nodeHash, toHex } from "../base/mod.ts";
import {
  AT_FDCWD,
  carved,
  type Fd,
  flock,
  fstat,
  fsync,
  isErrno,
  linkFd,
  O,
  openAt,
  openDir,
  preadFull,
  readDir,
  renameAt,
  statAt,
  tryFlock,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import { randomName } from "../repository/mod.ts";
import { digestHash } from "./blob.ts";
import { TEMPORARY } from "./scratch.ts";

const PIECE = 1 << 20;
/** Others may remove a new file between our making and locking it; this often is enough. */
const TRIES = 8;

/**
 * A directory that is made with its parents when it is missing. What somebody who was killed has
 * left in it is removed: who still writes a file holds a lock on it (flock).
 */
export function openMadeDirectory(path: string): Fd {
  Deno.mkdirSync(path, { recursive: true });
  const dir = openDir(AT_FDCWD, path);
  try {
    for (const { name } of readDir(dir)) {
      if (name.startsWith(TEMPORARY)) removeAbandoned(dir, name);
    }
  } catch (error) {
    dir.close();
    throw error;
  }
  return dir;
}

/** Removes a temporary file that nobody is at. */
function removeAbandoned(dir: Fd, name: string): void {
  try {
    // Some network file systems lock only what may be written to.
    using fd = openAt(dir, name, { flags: O.RDWR | O.NOFOLLOW | O.NONBLOCK });
    if (fstat(fd).isFile && tryFlock(fd, "exclusive")) unlinkAt(dir, name);
  } catch (error) {
    // It is gone, or not ours.
    if (isErrno(error, "ENOENT", "ELOOP", "EISDIR", "ENXIO", "EACCES", "EPERM")) return;
    throw error;
  }
}

/** Whether a file is there with this size and content. */
export function isIntact(
  dir: Fd,
  name: string,
  blob: { digest: Digest; size: number },
): boolean {
  const stat = statAt(dir, name);
  if (stat === undefined || !stat.isFile || stat.size !== blob.size) return false;
  using fd = openAt(dir, name, { flags: O.RDONLY | O.NOFOLLOW | O.NONBLOCK });
  const hash = nodeHash.stream(digestHash(blob.digest));
  const piece = new Uint8Array(PIECE);
  for (let offset = 0; offset < blob.size;) {
    const got = preadFull(fd, piece, offset);
    if (got === 0) return false;
    hash.update(piece.subarray(0, got));
    offset += got;
  }
  return toHex(hash.digest()) === blob.digest.encoded;
}

/** Gives an unnamed file its name in one step, replacing what is there; durable before that. */
export function placeFile(fd: Fd, dir: Fd, name: string): void {
  fsync(fd);
  const temporary = TEMPORARY + randomName();
  flock(fd, "exclusive");
  try {
    if (linkFd(fd, dir, name)) return;
    linkFd(fd, dir, temporary);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    // A file that was made with a name and lost it cannot get another one: it is copied.
    return writeFile(dir, name, (to) => copyFile(fd, to));
  }
  rename(dir, temporary, name);
}

function copyFile(from: Fd, to: Fd): void {
  const piece = new Uint8Array(PIECE);
  for (let offset = 0;;) {
    const got = preadFull(from, piece, offset);
    writeAll(to, piece.subarray(0, got));
    offset += got;
    if (got < piece.length) break;
  }
}

/** Writes a file in one step: what reads it sees the old content or the new one. */
export function replaceFile(dir: Fd, name: string, bytes: Uint8Array): void {
  writeFile(dir, name, (fd) => writeAll(fd, carved(bytes), name));
}

function writeFile(dir: Fd, name: string, write: (fd: Fd) => void): void {
  const temporary = makeTemporary(dir);
  using fd = temporary.fd;
  try {
    write(fd);
    fsync(fd);
  } catch (error) {
    unlinkAt(dir, temporary.name);
    throw error;
  }
  rename(dir, temporary.name, name);
}

function rename(dir: Fd, temporary: string, name: string): void {
  try {
    renameAt(dir, temporary, dir, name);
  } catch (error) {
    unlinkAt(dir, temporary);
    throw error;
  }
}

/** Makes a file that others let be as long as it is open. */
function makeTemporary(dir: Fd): { fd: Fd; name: string } {
  for (let tries = 1;; tries++) {
    const name = TEMPORARY + randomName();
    const fd = openAt(dir, name, { flags: O.CREAT | O.EXCL | O.WRONLY, mode: 0o644 });
    try {
      if (tryFlock(fd, "exclusive") && fstat(fd).nlink > 0) return { fd, name };
      if (tries === TRIES) throw new ComposefsError("CFS_FAILED", `Others remove ${name} at once`);
    } catch (error) {
      fd.close();
      unlinkAt(dir, name);
      throw error;
    }
    fd.close();
  }
}

/** The content of a small file; `undefined` when it is not there. */
export function readSmallFile(dir: Fd, name: string, limit: number): Uint8Array | undefined {
  if (statAt(dir, name) === undefined) return undefined;
  using fd = openAt(dir, name, { flags: O.RDONLY | O.NONBLOCK });
  const { size } = fstat(fd);
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(Math.min(size, limit), 4096)));
  return bytes.subarray(0, preadFull(fd, bytes, 0));
}
