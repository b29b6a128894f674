import { errno, ErrnoError, errnoNumber } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { libc } from "./libc.ts";

/** Operations of flock(2) (sys/file.h). */
export const LOCK = { shared: 1, exclusive: 2, unlock: 8 } as const;

/** An operation on an advisory lock. */
export type LockKind = keyof typeof LOCK;

const LOCK_NB = 4;

/**
 * Takes or changes an advisory lock on an open file (flock); waits for it.
 * Not atomic when changing: the old lock is given up first.
 */
export function flock(fd: Fd, kind: LockKind): void {
  for (;;) {
    if (libc().flock(fd.number, LOCK[kind]) === 0) return;
    const code = errno();
    if (code !== errnoNumber("EINTR")) throw new ErrnoError("flock", code);
  }
}

/** Like {@linkcode flock}, but returns false instead of waiting. */
export function tryFlock(fd: Fd, kind: LockKind): boolean {
  if (libc().flock(fd.number, LOCK[kind] | LOCK_NB) === 0) return true;
  const code = errno();
  if (code === errnoNumber("EAGAIN")) return false;
  throw new ErrnoError("flock", code);
}
