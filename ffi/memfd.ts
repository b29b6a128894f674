/** Files that live in memory only: memfd_create(2). */
import { check } from "./errno.ts";
import { Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import { cPath } from "./memory.ts";

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;

/** Seals against every later change (linux/fcntl.h): seal, shrink, grow, write. */
const SEAL_ALL = 1 | 2 | 4 | 8;

/**
 * Makes an empty file in memory.
 *
 * @param name shown in `/proc`, means nothing else
 */
export function memfd(name: string): Fd {
  return new Fd(check(libc().memfd_create(cPath(name), MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd"));
}

/** Makes a file of {@linkcode memfd} unchangeable. */
export function sealMemfd(fd: Fd): void {
  check(libc().fcntl(fd.number, F_ADD_SEALS, SEAL_ALL), "fcntl F_ADD_SEALS");
}
