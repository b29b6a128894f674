import { libc } from "./libc.ts";

/** An owned file descriptor; closed by `using`, or by {@linkcode Fd.close}. */
export class Fd implements Disposable {
  #number: number;

  /** Takes ownership of an open descriptor. */
  constructor(number: number) {
    this.#number = number;
  }

  /**
   * The descriptor's number.
   *
   * @throws {TypeError} after it was closed
   */
  get number(): number {
    if (this.#number < 0) throw new TypeError("File descriptor is closed");
    return this.#number;
  }

  /** Whether it was closed or given away. */
  get closed(): boolean {
    return this.#number < 0;
  }

  /** Path that names the open file to the kernel, from any thread of this process. */
  get procPath(): string {
    return `/proc/self/fd/${this.number}`;
  }

  /** Gives the descriptor away: the caller now has to close the returned number. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  /** Closes it; a second call does nothing. */
  close(): void {
    if (this.#number < 0) return;
    // The result is of no use: on Linux the descriptor is gone whatever close(2) returns.
    libc().close(this.#number);
    this.#number = -1;
  }

  /** Same as {@linkcode Fd.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Where a relative path starts: a directory's descriptor, or {@linkcode AT_FDCWD}. */
export type DirArg = Fd | number;

/** The current working directory as a {@linkcode DirArg} (linux/fcntl.h). */
export const AT_FDCWD: number = -100;

/** The number of a {@linkcode DirArg}. */
export function dirNumber(dir: DirArg): number {
  return typeof dir === "number" ? dir : dir.number;
}

/** The number of an open file. */
export function fdNumber(fd: Fd | number): number {
  return typeof fd === "number" ? fd : fd.number;
}
