/** Making nodes and setting their metadata. */
import { check } from "./errno.ts";
import { type DirArg, dirNumber } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf, cPath, type PathArg } from "./memory.ts";
import { AT } from "./open.ts";

/**
 * Makes a fifo, socket, device node or empty file.
 *
 * @param options.mode type bits ({@linkcode S_IF}) and permission bits
 * @param options.rdev device number in the kernel's 32-bit form @default 0
 */
export function mknodAt(
  dir: DirArg,
  name: PathArg,
  options: { mode: number; rdev?: number },
): void {
  const result = libc().mknodat(dirNumber(dir), cPath(name), options.mode, options.rdev ?? 0);
  check(result, "mknodat", name);
}

/** Sets owner and group, of a symbolic link itself when it is one. */
export function chownAt(dir: DirArg, name: PathArg, owner: { uid: number; gid: number }): void {
  const result = libc().fchownat(
    dirNumber(dir),
    cPath(name),
    owner.uid,
    owner.gid,
    AT.SYMLINK_NOFOLLOW,
  );
  check(result, "fchownat", name);
}

/** Sets the permission bits; follows symbolic links. */
export function chmodAt(dir: DirArg, name: PathArg, mode: number): void {
  check(libc().fchmodat(dirNumber(dir), cPath(name), mode, 0), "fchmodat", name);
}

const times = addressable(32);
const timesView = new DataView(times.buffer);
/** `struct timespec[2]`: access time, then modification time. */
const TIMES = { accessSec: 0, accessNsec: 8, modifySec: 16, modifyNsec: 24 } as const;

/** Sets access and modification time, of a symbolic link itself when it is one. */
export function utimeAt(dir: DirArg, name: PathArg, time: { sec: bigint; nsec: number }): void {
  timesView.setBigInt64(TIMES.accessSec, time.sec, true);
  timesView.setBigInt64(TIMES.accessNsec, BigInt(time.nsec), true);
  timesView.setBigInt64(TIMES.modifySec, time.sec, true);
  timesView.setBigInt64(TIMES.modifyNsec, BigInt(time.nsec), true);
  const result = libc().utimensat(
    dirNumber(dir),
    cPath(name),
    addressOf(times),
    AT.SYMLINK_NOFOLLOW,
  );
  check(result, "utimensat", name);
}
