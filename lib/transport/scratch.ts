/** Files without names. */
import { withContext } from "../base/mod.ts";
import { randomName } from "../repository/mod.ts";
import { AT_FDCWD, type Fd, isErrno, O, openAt, unlinkAt } from "../../ffi/mod.ts";

/** What files are called while they have a name that is not theirs to keep. */
export const TEMPORARY = ".cfs-";

/**
 * Opens an unnamed file that vanishes with its descriptor.
 *
 * @param dir directory on whose file system it is to be
 * @param options.mode permissions for when it gets a name. @default 0o644
 */
export function openScratch(dir: string, options: { mode?: number } = {}): Fd {
  const { mode = 0o644 } = options;
  try {
    return openAt(AT_FDCWD, dir, { flags: O.TMPFILE | O.RDWR, mode });
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP", "EISDIR", "ENOSYS")) throw error;
  }
  const path = `${dir}/${TEMPORARY}${randomName()}`;
  const fd = openAt(AT_FDCWD, path, { flags: O.CREAT | O.EXCL | O.RDWR, mode });
  unlinkAt(AT_FDCWD, path);
  return fd;
}

/** Where temporary files go; an empty variable counts as none. */
export function temporaryDirectory(): string {
  return Deno.env.get("TMPDIR") || "/var/tmp";
}

/** Opens an unnamed file for this user alone in the directory for temporary files. */
export function openTemporary(): Fd {
  const dir = temporaryDirectory();
  try {
    return openScratch(dir, { mode: 0o600 });
  } catch (cause) {
    throw withContext(`Making a temporary file in ${dir}`, cause);
  }
}
