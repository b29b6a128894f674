/**
 * Small file systems on loop devices: XFS or btrfs with reflinks, ext4 to run out of space on.
 *
 * @module
 */
import { TempDir, type TempDirOptions } from "./temp.ts";
import { tool } from "./tool.ts";

/** Kinds of file system: `ext4-verity` can enable fs-verity where the kernel can. */
export type LoopFsType = "xfs" | "ext4" | "ext4-verity" | "btrfs";

/** The smallest size in MiB that `mkfs` takes without complaint. */
export const MIN_MIB: Record<LoopFsType, number> = {
  xfs: 300,
  ext4: 2,
  "ext4-verity": 2,
  btrfs: 110,
};

const MKFS: Record<LoopFsType, string[]> = {
  xfs: ["mkfs.xfs", "-q", "-m", "reflink=1"],
  // Without a journal even a few MiB are usable, and without root's reserve "full" means full.
  ext4: ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0"],
  "ext4-verity": ["mkfs.ext4", "-q", "-F", "-O", "verity,^has_journal", "-b", "4096", "-m", "0"],
  btrfs: ["mkfs.btrfs", "-q"],
};

/** How to make a file system. */
export interface LoopFsOptions extends TempDirOptions {
  /** Size of the device in MiB. @default the smallest for its type */
  sizeMiB?: number;
}

function runSync(program: string, args: string[]): void {
  const { code, stderr } = new Deno.Command(program, { args }).outputSync();
  if (code !== 0) {
    throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  }
}

/** A file system in a sparse file, mounted until disposed of. Needs root. */
export class LoopFs implements Disposable {
  /** The mount point. */
  readonly path: string;
  readonly #dir: TempDir;

  /**
   * Makes and mounts the file system.
   *
   * @param type Which file system.
   * @param options Size, and where the backing file lies.
   */
  constructor(type: LoopFsType, options: LoopFsOptions = {}) {
    const sizeMiB = Math.max(options.sizeMiB ?? 0, MIN_MIB[type]);
    this.#dir = new TempDir({ prefix: `cfs-${type}-`, ...options });
    this.path = this.#dir.join("mnt");
    try {
      const image = this.#dir.join("image");
      Deno.mkdirSync(this.path);
      Deno.writeFileSync(image, new Uint8Array(0));
      Deno.truncateSync(image, sizeMiB * 1024 * 1024);
      const [mkfs = "", ...args] = MKFS[type];
      runSync(tool(mkfs), [...args, image]);
      runSync(tool("mount"), ["-o", "loop", image, this.path]);
    } catch (error) {
      this.#dir[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * A path inside.
   *
   * @param names Path components.
   */
  join(...names: string[]): string {
    return [this.path, ...names].join("/");
  }

  /** Unmounts it and removes the backing file; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}
