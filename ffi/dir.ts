/** Listing directories: getdents64(2). */
import { check } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf } from "./memory.ts";
import { toByteString } from "../lib/base/mod.ts";

/** Offsets in `struct linux_dirent64`. */
const DIRENT = { ino: 0, reclen: 16, type: 18, name: 19 } as const;
const GETDENTS64 = Deno.build.arch === "aarch64" ? 61 : 217;

/** Types in directory entries (dirent.h). */
export const DT = {
  UNKNOWN: 0,
  FIFO: 1,
  CHR: 2,
  DIR: 4,
  BLK: 6,
  REG: 8,
  LNK: 10,
  SOCK: 12,
} as const;

/** An entry of a directory. */
export interface DirEntry {
  /** Name as a byte string. */
  readonly name: string;
  /** One of {@linkcode DT}; UNKNOWN where the file system does not say. */
  readonly type: number;
}

const buffer = addressable(65536);
const view = new DataView(buffer.buffer);

/** All entries of an open directory except `.` and `..`, in the file system's order. */
export function readDir(fd: Fd): DirEntry[] {
  const entries: DirEntry[] = [];
  const symbols = libc();
  check(Number(symbols.lseek(fd.number, 0, 0)), "lseek");
  for (;;) {
    const length = check(
      symbols.syscall(GETDENTS64, fd.number, addressOf(buffer), buffer.length, 0, 0, 0),
      "getdents64",
    );
    if (length === 0) return entries;
    for (let at = 0; at < length; at += view.getUint16(at + DIRENT.reclen, true)) {
      const start = at + DIRENT.name;
      const end = buffer.indexOf(0, start);
      if (
        buffer[start] === 0x2e &&
        (end - start === 1 || (end - start === 2 && buffer[start + 1] === 0x2e))
      ) {
        continue;
      }
      entries.push({
        name: toByteString(buffer.subarray(start, end)),
        type: buffer[at + DIRENT.type]!,
      });
    }
  }
}
