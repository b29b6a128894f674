/**
 * Temporary directories that clean up after themselves, mounts included.
 *
 * @module
 */

const TMPFS = "/dev/shm";

/** How to make a temporary directory. */
export interface TempDirOptions {
  /** First part of its name. @default "cfs-" */
  prefix?: string;
  /** `memory`: on tmpfs when there is one; `disk`: where temporary files usually go. @default "memory" */
  on?: "memory" | "disk";
  /** Make it below this directory instead. */
  dir?: string;
}

/** A temporary directory; `using dir = new TempDir()` removes it at the end of the block. */
export class TempDir implements Disposable {
  /** Its absolute path. */
  readonly path: string;

  /**
   * Makes the directory.
   *
   * @param options Where and under which name.
   */
  constructor(options: TempDirOptions = {}) {
    const dir = options.dir ?? (options.on === "disk" ? undefined : memoryDir());
    this.path = Deno.makeTempDirSync({
      prefix: options.prefix ?? "cfs-",
      ...(dir === undefined ? {} : { dir }),
    });
  }

  /**
   * A path inside.
   *
   * @param names Path components.
   */
  join(...names: string[]): string {
    return [this.path, ...names].join("/");
  }

  /**
   * Writes a file inside, making the directories it needs.
   *
   * @param name Path below this directory.
   * @param content Text or bytes.
   * @returns The file's absolute path.
   */
  write(name: string, content: string | Uint8Array): string {
    const path = this.join(name);
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  /** Unmounts what is mounted inside and removes the directory; a second call does nothing. */
  [Symbol.dispose](): void {
    unmountBelow(this.path);
    try {
      Deno.removeSync(this.path, { recursive: true });
    } catch (error) {
      // Already gone: disposing twice is harmless.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

function memoryDir(): string | undefined {
  try {
    return Deno.statSync(TMPFS).isDirectory ? TMPFS : undefined;
  } catch (error) {
    // No tmpfs on this machine: the usual place will do.
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Mount points at or below a directory, innermost and latest first.
 *
 * @param dir Absolute path.
 */
export function mountsBelow(dir: string): string[] {
  return Deno.readTextFileSync("/proc/self/mountinfo").split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    // The kernel writes space, tab, newline and backslash in octal.
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)))
    )
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
    .reverse();
}

/**
 * Unmounts everything at or below a directory, so that removing it cannot reach into a mount.
 *
 * @param dir Absolute path.
 */
export function unmountBelow(dir: string): void {
  for (const path of mountsBelow(dir)) {
    const { code, stderr } = new Deno.Command("umount", { args: ["-l", "--", path] }).outputSync();
    if (code !== 0) throw new Error(new TextDecoder().decode(stderr).trim());
  }
}
