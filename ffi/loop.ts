/** Loop devices (linux/loop.h; spec: boot and mount 1.1, 2.3). */
import { UnsupportedError } from "../lib/base/mod.ts";
import { check, errno, ErrnoError, errnoNumber } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf, type PathArg } from "./memory.ts";
import { O, openPath } from "./open.ts";

/** ioctl numbers. */
export const LOOP = { CONFIGURE: 0x4c0a, CLR_FD: 0x4c01, CTL_GET_FREE: 0x4c82 } as const;

/** Flags in `lo_flags`. */
export const LO_FLAGS = { READ_ONLY: 1, AUTOCLEAR: 4, DIRECT_IO: 16 } as const;

/** Offsets in `struct loop_config`; `loop_info64` starts at 8. */
export const LOOP_CONFIG = {
  fd: [0, "u32"],
  blockSize: [4, "u32"],
  offset: [8 + 24, "u64"],
  sizeLimit: [8 + 32, "u64"],
  flags: [8 + 52, "u32"],
  fileName: [8 + 56, "bytes"],
} as const;

/** Size of `struct loop_config`. */
export const LOOP_CONFIG_SIZE = 304;

const NAME_SIZE = 64;
const MAX_TRIES = 64;

const config = addressable(LOOP_CONFIG_SIZE);
const view = new DataView(config.buffer);

/** A read-only loop device. */
export interface LoopDevice {
  /** The open device; it goes away when this and every mount of it are closed. */
  readonly fd: Fd;
  /** Its path, for example `/dev/loop3`. */
  readonly path: string;
}

/**
 * Makes a read-only loop device of a file; the kernel removes it with its last user.
 *
 * @param options.name path of the file, shown by losetup(8)
 * @throws {UnsupportedError} when no free device could be had
 * @throws {ErrnoError} when devices cannot be opened or set up
 */
export function openLoopDevice(file: Fd, options: { name?: PathArg } = {}): LoopDevice {
  using control = openPath("/dev/loop-control", { flags: O.RDWR });
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const number = check(libc().ioctl(control.number, LOOP.CTL_GET_FREE, 0), "ioctl LOOP_CTL");
    const path = `/dev/loop${number}`;
    const fd = openPath(path, { flags: O.RDWR });
    try {
      if (configure(fd, file, options.name ?? "")) return { fd, path };
    } catch (error) {
      fd.close();
      throw error;
    }
    fd.close(); // another process took this one: ask for the next
  }
  throw new UnsupportedError(`Cannot get a free loop device in ${MAX_TRIES} tries`);
}

/** Sets a device up, with less where the kernel or file system refuses; false when it is taken. */
function configure(device: Fd, file: Fd, name: PathArg): boolean {
  const { READ_ONLY, AUTOCLEAR, DIRECT_IO } = LO_FLAGS;
  const attempts = [
    { blockSize: 4096, flags: READ_ONLY | AUTOCLEAR | DIRECT_IO },
    { blockSize: 4096, flags: READ_ONLY | AUTOCLEAR },
    { blockSize: 0, flags: READ_ONLY | AUTOCLEAR },
  ];
  let code = 0;
  for (const { blockSize, flags } of attempts) {
    config.fill(0);
    view.setUint32(LOOP_CONFIG.fd[0], file.number, true);
    view.setUint32(LOOP_CONFIG.blockSize[0], blockSize, true);
    view.setUint32(LOOP_CONFIG.flags[0], flags, true);
    const bytes = typeof name === "string" ? new TextEncoder().encode(name) : name;
    config.set(bytes.subarray(0, NAME_SIZE - 1), LOOP_CONFIG.fileName[0]);
    if (libc().ioctl(device.number, LOOP.CONFIGURE, addressOf(config)) === 0) return true;
    code = errno();
    if (code === errnoNumber("EBUSY")) return false;
    if (code !== errnoNumber("EINVAL")) break;
  }
  throw new ErrnoError("ioctl LOOP_CONFIGURE", code);
}
