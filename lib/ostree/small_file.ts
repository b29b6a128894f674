/** Small text files of repositories. */
import { FormatError } from "../base/mod.ts";
import { type Fd, fstat, isErrno, O, openAt2, preadFull, RESOLVE, S_IF } from "../../ffi/mod.ts";

/** A small text file below a directory, never outside of it; `undefined` when it is not there. */
export function readSmall(root: Fd, path: string, limit: number): string | undefined {
  let fd: Fd;
  try {
    fd = openAt2(root, path, { flags: O.RDONLY | O.NONBLOCK, resolve: RESOLVE.BENEATH });
  } catch (error) {
    // What leads out of the repository, or nowhere, is none of its files.
    if (isErrno(error, "ENOENT", "ENOTDIR", "ENAMETOOLONG", "EXDEV", "ELOOP")) return undefined;
    throw error;
  }
  using _fd = fd;
  const stat = fstat(fd);
  if ((stat.mode & S_IF.MT) === S_IF.DIR) return undefined;
  if (stat.size > limit) throw new FormatError("ostree repository", `${path} is too large`);
  const bytes = new Uint8Array(Math.max(limit, 128));
  return new TextDecoder().decode(bytes.subarray(0, preadFull(fd, bytes, 0)));
}
