/** Namespaces: unshare(2), setns(2). Both change the calling thread only. */
import { check } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import type { PathArg } from "./memory.ts";
import { openPath } from "./open.ts";

/** Kinds of namespaces (linux/sched.h). */
export const CLONE = { NEWNS: 0x20000, NEWUSER: 0x10000000, FS: 0x200 } as const;

/**
 * Gives the calling thread namespaces of its own. A user namespace cannot be made by a process with
 * several threads, as every Deno process is (EINVAL).
 *
 * @param flags bits of {@linkcode CLONE}
 */
export function unshare(flags: number): void {
  check(libc().unshare(flags), "unshare");
}

/**
 * Moves the calling thread into a namespace.
 *
 * @param kind bits of {@linkcode CLONE} the namespace must be, 0 for any
 */
export function setNamespace(fd: Fd, kind = 0): void {
  check(libc().setns(fd.number, kind), "setns");
}

/** Opens a namespace file such as `/proc/PID/ns/user`. */
export function openNamespace(path: PathArg): Fd {
  return openPath(path);
}
