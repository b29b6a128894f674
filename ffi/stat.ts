/** File metadata: statx(2), statfs(2), access checks. */
import { check, checkRepeated, errnoNumber, repeated } from "./errno.ts";
import { type DirArg, dirNumber, type Fd, fdNumber } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf, cPath, type PathArg } from "./memory.ts";
import { AT } from "./open.ts";

/** Offsets in `struct statx` (linux/stat.h), 256 bytes. */
export const STATX = {
  mask: [0x00, "u32"],
  nlink: [0x10, "u32"],
  uid: [0x14, "u32"],
  gid: [0x18, "u32"],
  mode: [0x1c, "u16"],
  ino: [0x20, "u64"],
  size: [0x28, "u64"],
  mtimeSec: [0x70, "i64"],
  mtimeNsec: [0x78, "u32"],
  rdevMajor: [0x80, "u32"],
  rdevMinor: [0x84, "u32"],
  devMajor: [0x88, "u32"],
  devMinor: [0x8c, "u32"],
} as const;

/** Size of `struct statx`. */
export const STATX_SIZE = 256;
const STATX_BASIC_STATS = 0x7ff;
const STATX_SYSCALL = Deno.build.arch === "aarch64" ? 291 : 332;

/** The file type bits of a mode (linux/stat.h). */
export const S_IF = {
  MT: 0o170000,
  SOCK: 0o140000,
  LNK: 0o120000,
  REG: 0o100000,
  BLK: 0o060000,
  DIR: 0o040000,
  CHR: 0o020000,
  IFO: 0o010000,
} as const;

const buffer: Uint8Array<ArrayBuffer> = addressable(STATX_SIZE);
const view: DataView<ArrayBuffer> = new DataView(buffer.buffer, buffer.byteOffset, STATX_SIZE);

/** Metadata of a file. */
export class FileStat {
  /** Type and permission bits. */
  readonly mode: number;
  /** Number of hard links. */
  readonly nlink: number;
  /** Owner. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** Size in bytes. */
  readonly size: number;
  /** Inode number; unique together with `dev`. */
  readonly ino: bigint;
  /** Device of the file system, as `major * 2^32 + minor`. */
  readonly dev: number;
  /** Device number of a device node in the kernel's 32-bit form. */
  readonly rdev: number;
  /** Modification time, seconds. */
  readonly mtimeSec: bigint;
  /** Modification time, nanoseconds. */
  readonly mtimeNsec: number;

  /** Copies the last statx result out of the scratch buffer. */
  constructor() {
    this.mode = view.getUint16(STATX.mode[0], true);
    this.nlink = view.getUint32(STATX.nlink[0], true);
    this.uid = view.getUint32(STATX.uid[0], true);
    this.gid = view.getUint32(STATX.gid[0], true);
    this.size = view.getUint32(STATX.size[0], true) +
      view.getUint32(STATX.size[0] + 4, true) * 2 ** 32;
    this.ino = view.getBigUint64(STATX.ino[0], true);
    this.dev = view.getUint32(STATX.devMajor[0], true) * 2 ** 32 +
      view.getUint32(STATX.devMinor[0], true);
    this.rdev = encodeDevice(
      view.getUint32(STATX.rdevMajor[0], true),
      view.getUint32(STATX.rdevMinor[0], true),
    );
    this.mtimeSec = view.getBigInt64(STATX.mtimeSec[0], true);
    this.mtimeNsec = view.getUint32(STATX.mtimeNsec[0], true);
  }

  /** The type bits of the mode. */
  get type(): number {
    return this.mode & S_IF.MT;
  }

  /** Whether this is a directory. */
  get isDirectory(): boolean {
    return this.type === S_IF.DIR;
  }

  /** Whether this is a regular file. */
  get isFile(): boolean {
    return this.type === S_IF.REG;
  }

  /** Whether this is a symbolic link. */
  get isSymlink(): boolean {
    return this.type === S_IF.LNK;
  }
}

/** Fills the scratch buffer; gives 0 or the negated error number. */
function statx(dir: number, path: PathArg, flags: number): number {
  const name = cPath(path);
  const out = addressOf(buffer);
  return repeated(() =>
    libc().syscall_fd(STATX_SYSCALL, dir, name, flags, STATX_BASIC_STATS, out, 0)
  );
}

/** Metadata of an open file. */
export function fstat(fd: Fd | number): FileStat {
  checkRepeated(statx(dirNumber(fd), "", AT.EMPTY_PATH), "statx");
  return new FileStat();
}

/** Metadata that {@linkcode statInto} got, in the scratch buffer of the thread. */
export interface LastStat {
  /** Type and permission bits. */
  readonly mode: number;
  /** Owner. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** Size in bytes. */
  readonly size: number;
  /** Inode number: a `number` where that is exact, else a `bigint`; fit as a `Map` key. */
  readonly ino: number | bigint;
  /** Device of the file system, as `major * 2^32 + minor`. */
  readonly dev: number;
  /** Device number of a device node in the kernel's 32-bit form. */
  readonly rdev: number;
  /** Modification time, seconds. */
  readonly mtimeSec: bigint;
  /** Modification time, nanoseconds. */
  readonly mtimeNsec: number;
}

/**
 * The last result of {@linkcode statInto}, read in place: scanning a tree makes no object per file.
 * One a thread; valid until the next call of any function of this module.
 */
export const lastStat: LastStat = {
  get mode(): number {
    return view.getUint16(STATX.mode[0], true);
  },
  get uid(): number {
    return view.getUint32(STATX.uid[0], true);
  },
  get gid(): number {
    return view.getUint32(STATX.gid[0], true);
  },
  get size(): number {
    return view.getUint32(STATX.size[0], true) + view.getUint32(STATX.size[0] + 4, true) * 2 ** 32;
  },
  get ino(): number | bigint {
    const high = view.getUint32(STATX.ino[0] + 4, true);
    return high < 2 ** 21
      ? view.getUint32(STATX.ino[0], true) + high * 2 ** 32
      : view.getBigUint64(STATX.ino[0], true);
  },
  get dev(): number {
    return view.getUint32(STATX.devMajor[0], true) * 2 ** 32 +
      view.getUint32(STATX.devMinor[0], true);
  },
  get rdev(): number {
    return encodeDevice(
      view.getUint32(STATX.rdevMajor[0], true),
      view.getUint32(STATX.rdevMinor[0], true),
    );
  },
  get mtimeSec(): bigint {
    return view.getBigInt64(STATX.mtimeSec[0], true);
  },
  get mtimeNsec(): number {
    return view.getUint32(STATX.mtimeNsec[0], true);
  },
};

/** A device number in the kernel's 32-bit form: new_encode_dev() of linux/kdev_t.h. */
export function encodeDevice(major: number, minor: number): number {
  // Multiplication, since bit 31 may be set.
  return (minor & 0xff) + major * 2 ** 8 + (minor - (minor & 0xff)) * 2 ** 12;
}

/**
 * Metadata into {@linkcode lastStat}, not following a link.
 *
 * @param name address of a NUL-terminated name, or 0 for the file `dir` itself
 * @returns 0, or the error number
 */
export function statInto(dir: number, name: number): number {
  const path = name === 0 ? cPath("") : name;
  const flags = name === 0 ? AT.EMPTY_PATH : AT.SYMLINK_NOFOLLOW;
  const out = addressOf(buffer);
  const result = repeated(() =>
    libc().syscall_fd(STATX_SYSCALL, dir, path, flags, STATX_BASIC_STATS, out, 0)
  );
  return result === 0 ? 0 : -result;
}

/** Metadata of a name, not following a link; `undefined` for ENOENT. */
export function lstatAt(dir: DirArg, path: PathArg): FileStat | undefined {
  return statName(dir, path, AT.SYMLINK_NOFOLLOW);
}

/** Metadata of what a name leads to; `undefined` for ENOENT. */
export function statAt(dir: DirArg, path: PathArg): FileStat | undefined {
  return statName(dir, path, 0);
}

function statName(dir: DirArg, path: PathArg, flags: number): FileStat | undefined {
  const result = statx(dirNumber(dir), path, flags);
  if (result === -errnoNumber("ENOENT")) return undefined;
  checkRepeated(result, "statx", path);
  return new FileStat();
}

/** Size of a regular file by name, -1 when it is not there; allocates nothing (hot paths). */
export function sizeAt(dir: DirArg, path: PathArg): number {
  const result = statx(dirNumber(dir), path, AT.SYMLINK_NOFOLLOW);
  if (result === -errnoNumber("ENOENT")) return -1;
  checkRepeated(result, "statx", path);
  return view.getUint32(STATX.size[0], true) + view.getUint32(STATX.size[0] + 4, true) * 2 ** 32;
}

/** Offsets in `struct statfs` on 64-bit Linux (asm-generic/statfs.h), 120 bytes. */
export const STATFS = {
  type: [0, "u64"],
  bsize: [8, "u64"],
  bavail: [32, "u64"],
  flags: [80, "u64"],
} as const;

/** Size of `struct statfs`. */
export const STATFS_SIZE = 120;
const ST_RDONLY = 1;
const statfsBuffer = addressable(STATFS_SIZE);
const statfsView = new DataView(statfsBuffer.buffer);

/** What is known of a file system. */
export interface FileSystemStat {
  /** Magic number of its kind (linux/magic.h). */
  readonly type: number;
  /** Whether it is mounted read-only. */
  readonly readOnly: boolean;
  /** Bytes that an unprivileged user can still write. */
  readonly available: number;
}

/** The file system that an open file is on. */
export function fstatfs(fd: Fd | number): FileSystemStat {
  check(libc().fstatfs(fdNumber(fd), addressOf(statfsBuffer)), "fstatfs");
  const flags = Number(statfsView.getBigUint64(STATFS.flags[0], true) & 0xffffn);
  return {
    type: Number(statfsView.getBigUint64(STATFS.type[0], true)),
    readOnly: (flags & ST_RDONLY) !== 0,
    available: Number(statfsView.getBigUint64(STATFS.bavail[0], true)) *
      Number(statfsView.getBigUint64(STATFS.bsize[0], true)),
  };
}

const W_OK = 2;

/** Checks that the directory may be written to, by permission bits (which do not bind root). */
export function checkWritable(dir: Fd): void {
  check(libc().faccessat(dir.number, cPath("."), W_OK, 0), "faccessat", ".");
}
