/**
 * Random real directories: everything a directory can hold, from a seed.
 *
 * @module
 */
import { type ByteString, fromByteString } from "../../lib/base/mod.ts";
import {
  chmodAt,
  chownAt,
  encodeDevice,
  type Fd,
  ftruncate,
  linkAt,
  mkdirAt,
  mknodAt,
  O,
  openAt,
  openDir,
  openPath,
  pwriteAll,
  S_IF,
  setXattr,
  symlinkAt,
  utimeAt,
} from "../../ffi/mod.ts";

/** A small generator of random numbers (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const SIZES = [
  ...[0, 1, 3, 63, 64, 65, 66, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12288],
  ...[128 * 4096 - 1, 128 * 4096, 128 * 4096 + 1, 1048575, 1048576, 1048577],
];

const NAMES: ByteString[] = [
  "a",
  "-",
  ".hidden",
  "!before-dot",
  "with space",
  "new\nline",
  "back\\slash",
  "\xff\xfe",
  "\xc3\xa9",
  "tab\there",
  "x".repeat(255),
  "00",
  "ff",
  "=",
  "#",
];

interface Maker {
  readonly random: () => number;
  readonly files: { dir: Fd; name: Uint8Array }[];
  readonly open: Fd[];
}

function below(maker: Maker, limit: number): number {
  return Math.floor(maker.random() * limit);
}

function pick<T>(maker: Maker, values: readonly T[]): T {
  return values[below(maker, values.length)]!;
}

function newName(maker: Maker, used: Set<string>): ByteString {
  for (;;) {
    const name = maker.random() < 0.4 ? pick(maker, NAMES) : `n${below(maker, 1e6).toString(36)}`;
    if (used.has(name)) continue;
    used.add(name);
    return name;
  }
}

function decorate(maker: Maker, dir: Fd, name: Uint8Array, kind: "link" | "file" | "other"): void {
  if (maker.random() < 0.3) {
    chownAt(dir, name, { uid: below(maker, 70000), gid: below(maker, 5) });
  }
  if (kind !== "link" && maker.random() < 0.5) chmodAt(dir, name, below(maker, 0o10000));
  if (maker.random() < 0.25) addXattrs(maker, dir, { name, kind });
  if (maker.random() < 0.8) {
    utimeAt(dir, name, { sec: BigInt(below(maker, 2e9)), nsec: below(maker, 1e9) });
  }
}

function addXattrs(
  maker: Maker,
  dir: Fd,
  target: { name: Uint8Array; kind: "link" | "file" | "other" },
): void {
  const base = new TextEncoder().encode(`${dir.procPath}/`);
  const path = new Uint8Array(base.length + target.name.length);
  path.set(base);
  path.set(target.name, base.length);
  const prefixes = target.kind === "file"
    ? ["user.", "trusted.", "security.", "trusted.overlay.", "user.overlay."]
    : ["trusted.", "security.", "trusted.overlay."];
  const count = 1 + below(maker, 4);
  for (let i = 0; i < count; i++) {
    const value = maker.random() < 0.5
      ? pick(maker, ["", "shared", "y", "\x00\xff"])
      : String.fromCharCode(...Array.from({ length: below(maker, 60) }, () => below(maker, 256)));
    setXattr(path, pick(maker, prefixes) + "k" + below(maker, 6), value);
  }
}

function addFile(maker: Maker, dir: Fd, name: Uint8Array): void {
  using fd = openAt(dir, name, { flags: O.CREAT | O.EXCL | O.RDWR });
  const size = pick(maker, SIZES);
  if (size > 0 && maker.random() < 0.15) ftruncate(fd, size);
  else if (size > 0) {
    const bytes = new Uint8Array(Math.max(size, 4096)).fill(below(maker, 256));
    for (let i = 0; i < size; i += 997) bytes[i] = below(maker, 256);
    pwriteAll(fd, bytes.subarray(0, size), 0);
  }
  maker.files.push({ dir, name });
}

function addEntry(maker: Maker, dir: Fd, text: ByteString): Fd | undefined {
  const name = fromByteString(text);
  const what = maker.random();
  if (what < 0.2) {
    mkdirAt(dir, name);
    const child = openDir(dir, name);
    maker.open.push(child);
    decorate(maker, dir, name, "file");
    return child;
  }
  if (what < 0.55) {
    addFile(maker, dir, name);
    decorate(maker, dir, name, "file");
  } else if (what < 0.65 && maker.files.length > 0) {
    const from = pick(maker, maker.files);
    linkAt(from.dir, from.name, dir, name);
  } else if (what < 0.8) {
    const length = pick(maker, [1, 10, 100, 900, 1024]);
    symlinkAt("t".repeat(length - 1) + pick(maker, ["x", "/", "."]), dir, name);
    decorate(maker, dir, name, "link");
  } else {
    const mode = pick(maker, [S_IF.IFO, S_IF.CHR, S_IF.CHR, S_IF.BLK, S_IF.SOCK]);
    const device = mode === S_IF.CHR || mode === S_IF.BLK;
    // Half of the character devices are whiteouts.
    const rdev = !device || (mode === S_IF.CHR && maker.random() < 0.5)
      ? 0
      : encodeDevice(1 + below(maker, 4000), below(maker, 1 << 20));
    mknodAt(dir, name, { mode: mode | 0o644, rdev });
    decorate(maker, dir, name, "other");
  }
  return undefined;
}

/**
 * Fills an empty directory at random; needs root.
 *
 * @param path The directory.
 * @param seed Decides everything.
 */
export function fillRandomly(path: string, seed: number): void {
  const maker: Maker = { random: randomNumbers(seed), files: [], open: [openPath(path)] };
  try {
    const queue = [maker.open[0]!];
    let left = 1 + below(maker, 40);
    for (let dir = queue.pop(); dir !== undefined; dir = queue.pop()) {
      const used = new Set<string>();
      const count = Math.min(left, below(maker, 16));
      left -= count;
      for (let i = 0; i < count; i++) {
        const child = addEntry(maker, dir, newName(maker, used));
        if (child !== undefined) queue.unshift(child);
      }
    }
    utimeAt(maker.open[0]!, ".", { sec: 1n, nsec: 5 });
  } finally {
    for (const fd of maker.open) fd.close();
  }
}
