/**
 * The C library. Opened at the first call; every address is passed as a number, since typed-array
 * arguments cost more than most of the calls themselves.
 */
import { UnsupportedError } from "../lib/base/mod.ts";

const PATH = "usize"; // const char *, NUL-terminated, in the scratch area of memory.ts
const PTR = "usize"; // void *
const FD = "i32";

/**
 * The functions we call. Byte counts stay below 2^31, so `ssize_t` results are read as `i32`.
 * Variadic functions are declared with fixed integer parameters: same registers on x86-64 SysV and
 * on Linux AAPCS64.
 */
const COMMON = {
  __errno_location: { parameters: [], result: "pointer" },
  // int openat(int dirfd, const char *path, int flags, mode_t mode)
  openat: { parameters: [FD, PATH, "i32", "u32"], result: "i32" },
  close: { parameters: [FD], result: "i32" },
  // int linkat(int olddirfd, const char *old, int newdirfd, const char *new, int flags)
  linkat: { parameters: [FD, PATH, FD, PATH, "i32"], result: "i32" },
  readlinkat: { parameters: [FD, PATH, PTR, "usize"], result: "i32" },
  unlinkat: { parameters: [FD, PATH, "i32"], result: "i32" },
  mkdirat: { parameters: [FD, PATH, "u32"], result: "i32" },
  // ssize_t pread(int fd, void *buf, size_t count, off_t offset)
  pread: { parameters: [FD, PTR, "usize", "i64"], result: "i32" },
  read: { parameters: [FD, PTR, "usize"], result: "i32" },
  write: { parameters: [FD, PTR, "usize"], result: "i32" },
  lseek: { parameters: [FD, "i64", "i32"], result: "i64" },
  syncfs: { parameters: [FD], result: "i32" },
  flock: { parameters: [FD, "i32"], result: "i32" },
  ioctl: { parameters: [FD, "usize", PTR], result: "i32" },
  flistxattr: { parameters: [FD, PTR, "usize"], result: "i32" },
  fgetxattr: { parameters: [FD, PATH, PTR, "usize"], result: "i32" },
  llistxattr: { parameters: [PATH, PTR, "usize"], result: "i32" },
  lgetxattr: { parameters: [PATH, PATH, PTR, "usize"], result: "i32" },
  geteuid: { parameters: [], result: "u32" },
  // long syscall(long number, ...): i32 is enough for descriptors and small counts
  syscall: {
    parameters: ["usize", "usize", "usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
  // fixed-type variants of syscall(2) whose descriptors can be negative (AT_FDCWD)
  syscall_fd: {
    name: "syscall",
    parameters: ["usize", "i32", "usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
  syscall_fd_fd: {
    name: "syscall",
    parameters: ["usize", "i32", "usize", "i32", "usize", "usize", "usize"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Functions that few commands call: binding one costs 0.1 ms, in every thread. */
const RARE = {
  symlinkat: { parameters: [PATH, FD, PATH], result: "i32" },
  renameat: { parameters: [FD, PATH, FD, PATH], result: "i32" },
  fchmod: { parameters: [FD, "u32"], result: "i32" },
  faccessat: { parameters: [FD, PATH, "i32", "i32"], result: "i32" },
  pwrite: { parameters: [FD, PTR, "usize", "i64"], result: "i32" },
  ftruncate: { parameters: [FD, "i64"], result: "i32" },
  fallocate: { parameters: [FD, "i32", "i64", "i64"], result: "i32" },
  fsync: { parameters: [FD], result: "i32" },
  fstatfs: { parameters: [FD, PTR], result: "i32" },
  listxattr: { parameters: [PATH, PTR, "usize"], result: "i32" },
  getxattr: { parameters: [PATH, PATH, PTR, "usize"], result: "i32" },
  lsetxattr: { parameters: [PATH, PATH, PTR, "usize", "i32"], result: "i32" },
  umount2: { parameters: [PATH, "i32"], result: "i32" },
  mknodat: { parameters: [FD, PATH, "u32", "u64"], result: "i32" },
  fchownat: { parameters: [FD, PATH, "u32", "u32", "i32"], result: "i32" },
  fchmodat: { parameters: [FD, PATH, "u32", "i32"], result: "i32" },
  // int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
  utimensat: { parameters: [FD, PATH, PTR, "i32"], result: "i32" },
  umask: { parameters: ["u32"], result: "u32" },
  unshare: { parameters: ["i32"], result: "i32" },
  setns: { parameters: [FD, "i32"], result: "i32" },
  // int memfd_create(const char *name, unsigned flags)
  memfd_create: { parameters: [PATH, "u32"], result: "i32" },
  fcntl: { parameters: [FD, "i32", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** A parameter as we pass it: every integer and address is a `number`. */
type Argument<T> = T extends "buffer" ? Uint8Array<ArrayBuffer> : number;

type Arguments<P extends readonly unknown[]> = { -readonly [I in keyof P]: Argument<P[I]> };

/** A result: addresses and 64-bit numbers arrive as `bigint`. */
type Result<T> = T extends "i32" | "u32" ? number
  : T extends "pointer" ? Deno.PointerValue
  : bigint;

/**
 * The functions of a library with `number` arguments. Deno's own types ask for `bigint` where the
 * runtime takes either, and a `bigint` would be allocated at every call.
 */
export type NumberCalls<S extends Record<string, Deno.ForeignFunction>> = {
  readonly [K in keyof S]: (
    ...args: Arguments<S[K]["parameters"]>
  ) => Result<S[K]["result"]>;
};

/** The loaded functions by name. */
export type Libc = NumberCalls<typeof COMMON & typeof RARE>;

let symbols: Libc | undefined;
let errnoView: Deno.UnsafePointerView | undefined;

/**
 * The C library's functions; loads it at the first call.
 *
 * @throws {UnsupportedError} on other systems than Linux, or when no C library can be loaded
 */
export function libc(): Libc {
  return symbols ??= load();
}

/**
 * errno of this thread. Its view is made when the library is loaded: making it after a failed call
 * would run code that can change errno before it is read.
 */
export function rawErrno(): number {
  if (errnoView === undefined) libc();
  return errnoView!.getInt32();
}

function load(): Libc {
  if (Deno.build.os !== "linux") {
    throw new UnsupportedError(`composefs needs Linux, this is ${Deno.build.os}`);
  }
  // Numbers are read in host order as little-endian all over ffi/.
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
    throw new UnsupportedError("composefs needs a little-endian machine");
  }
  const names = ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`];
  const causes: unknown[] = [];
  for (const name of names) {
    try {
      const loaded = Deno.dlopen(name, COMMON).symbols as unknown as NumberCalls<typeof COMMON>;
      errnoView = new Deno.UnsafePointerView(loaded.__errno_location()!);
      errnoView.getInt32(); // the first read of a view takes a slow path: have it behind us
      return withRare(loaded, name);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      causes.push(error);
    }
  }
  throw new UnsupportedError(`Cannot load the C library (tried ${names.join(", ")})`, {
    cause: causes[0],
  });
}

/** Adds the rare functions, all of which are bound when the first of them is looked up. */
function withRare(common: NumberCalls<typeof COMMON>, library: string): Libc {
  const all = { ...common } as Libc;
  for (const name of Object.keys(RARE) as (keyof typeof RARE)[]) {
    Object.defineProperty(all, name, {
      configurable: true,
      get() {
        const { symbols } = Deno.dlopen(library, RARE);
        for (const [key, value] of Object.entries(symbols)) {
          Object.defineProperty(all, key, { value });
        }
        return symbols[name];
      },
    });
  }
  return all;
}
