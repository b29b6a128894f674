/** Listing directories: getdents64(2). */
import { errno, ErrnoError } from "./errno.ts";
import { type Fd, fdNumber } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf } from "./memory.ts";
import { type ByteString, toByteString } from "../lib/base/mod.ts";

/** Offsets in `struct linux_dirent64` (linux/dirent.h); the name ends with NUL. */
export const DIRENT = {
  ino: [0, "u64"],
  reclen: [16, "u16"],
  type: [18, "u8"],
  name: [19, "bytes"],
} as const;

const GETDENTS64 = Deno.build.arch === "aarch64" ? 61 : 217;
/** What the size of an entry is a multiple of. */
const ALIGNMENT = 8;
const DOT = 0x2e;

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
  readonly name: ByteString;
  /** One of {@linkcode DT}; UNKNOWN where the file system does not say. */
  readonly type: number;
}

/**
 * Walks over the entries of an open directory without making an object for each: `next()` moves to
 * an entry, the properties tell what it is. `.` and `..` are left out. Starts at the beginning.
 */
export class DirReader {
  readonly #fd: number;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #address: number;
  #length = 0;
  #next = 0;
  #at = 0;
  #nameEnd = 0;
  #started = false;

  /**
   * Creates a reader.
   *
   * @param fd the directory; stays the caller's
   * @param buffer scratch space of at least 512 bytes from {@linkcode addressable}
   */
  constructor(fd: Fd | number, buffer: Uint8Array<ArrayBuffer> = addressable(65536)) {
    this.#fd = fdNumber(fd);
    this.#buffer = buffer;
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.#address = addressOf(buffer);
  }

  /**
   * Moves to the next entry.
   *
   * @returns false at the end
   * @throws {ErrnoError} when the directory cannot be read
   */
  next(): boolean {
    const buffer = this.#buffer;
    for (;;) {
      if (this.#next >= this.#length && !this.#fill()) return false;
      const at = this.#next;
      this.#at = at;
      this.#next = at + this.#view.getUint16(at + DIRENT.reclen[0], true);
      const start = at + DIRENT.name[0];
      // Entries are padded to a multiple of eight, so the name's NUL is among the last bytes.
      let end = Math.max(start, this.#next - ALIGNMENT);
      while (buffer[end] !== 0) end++;
      this.#nameEnd = end;
      const dots = buffer[start] === DOT &&
        (end - start === 1 || (end - start === 2 && buffer[start + 1] === DOT));
      if (!dots) return true;
    }
  }

  #fill(): boolean {
    const symbols = libc();
    if (!this.#started) {
      this.#started = true;
      if (Number(symbols.lseek(this.#fd, 0, 0)) < 0) throw new ErrnoError("lseek", errno());
    }
    const size = this.#buffer.length;
    const length = symbols.syscall(GETDENTS64, this.#fd, this.#address, size, 0, 0, 0);
    if (length < 0) throw new ErrnoError("getdents64", errno());
    this.#length = length;
    this.#next = 0;
    return length > 0;
  }

  /** Name of the entry. */
  get name(): ByteString {
    return toByteString(this.#buffer.subarray(this.#at + DIRENT.name[0], this.#nameEnd));
  }

  /** Address of the entry's NUL-terminated name; valid until `next()`. */
  get nameAddress(): number {
    return this.#address + this.#at + DIRENT.name[0];
  }

  /** One of {@linkcode DT}; UNKNOWN where the file system does not say. */
  get type(): number {
    return this.#buffer[this.#at + DIRENT.type[0]]!;
  }
}

const shared = addressable(65536);

/** All entries of an open directory except `.` and `..`, in the file system's order. */
export function readDir(fd: Fd): DirEntry[] {
  const entries: DirEntry[] = [];
  const reader = new DirReader(fd, shared);
  while (reader.next()) entries.push({ name: reader.name, type: reader.type });
  return entries;
}
