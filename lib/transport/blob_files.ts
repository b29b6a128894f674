/** Blobs as files of a directory: what layouts and `dir:` have in common. */
import { type Digest, nodeHash, toHex } from "../base/mod.ts";
import {
  AT_FDCWD,
  carved,
  type Fd,
  fstat,
  fsync,
  isErrno,
  linkFd,
  O,
  openAt,
  openDir,
  preadFull,
  renameAt,
  statAt,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import { digestHash } from "./blob.ts";

const PIECE = 1 << 20;

/** A directory that is made with its parents when it is missing. */
export function openMadeDirectory(path: string): Fd {
  Deno.mkdirSync(path, { recursive: true });
  return openDir(AT_FDCWD, path);
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
  const temporary = temporaryName(name);
  try {
    if (linkFd(fd, dir, name)) return;
    unlinkAt(dir, temporary);
    linkFd(fd, dir, temporary);
  } catch (error) {
    // A file that was made with a name and lost it cannot get another one: it is copied.
    if (!isErrno(error, "ENOENT")) throw error;
    copyFile(fd, dir, temporary);
  }
  renameAt(dir, temporary, dir, name);
}

function copyFile(from: Fd, dir: Fd, name: string): void {
  using to = openAt(dir, name, { flags: O.CREAT | O.TRUNC | O.WRONLY, mode: 0o644 });
  const piece = new Uint8Array(PIECE);
  for (let offset = 0;;) {
    const got = preadFull(from, piece, offset);
    writeAll(to, piece.subarray(0, got), name);
    offset += got;
    if (got < piece.length) break;
  }
  fsync(to);
}

function temporaryName(name: string): string {
  return `.cfs-${Deno.pid}-${name}`;
}

/** Writes a file in one step: what reads it sees the old content or the new one. */
export function replaceFile(dir: Fd, name: string, bytes: Uint8Array): void {
  const temporary = temporaryName(name);
  using fd = openAt(dir, temporary, { flags: O.CREAT | O.TRUNC | O.WRONLY, mode: 0o644 });
  try {
    writeAll(fd, carved(bytes));
    fsync(fd);
    renameAt(dir, temporary, dir, name);
  } catch (error) {
    unlinkAt(dir, temporary);
    throw error;
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
