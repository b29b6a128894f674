/** Large objects on their way, in files that outlive a pull that does not get to its end. */
import {
  carved,
  type Fd,
  fstat,
  ftruncate,
  O,
  openPath,
  pwriteAll,
  tryFlock,
} from "../../ffi/mod.ts";
import type { BodySink } from "../http/mod.ts";
import { SpaceWatch } from "../repository/mod.ts";

/** The beginning of an object, or all of it. */
export class PartFile implements BodySink<PartFile> {
  readonly #path: string;
  readonly #fd: Fd;
  #kept: boolean;
  #size: number;
  #space: SpaceWatch | undefined;

  private constructor(path: string, fd: Fd, size: number) {
    this.#path = path;
    this.#fd = fd;
    this.#size = size;
    this.#kept = size > 0;
  }

  /**
   * Opens the file at a path, or makes it.
   *
   * @returns undefined when somebody else writes it
   */
  static open(path: string): PartFile | undefined {
    const flags = O.RDWR | O.CREAT | O.NOFOLLOW;
    const fd = openPath(path, { flags, mode: 0o600 });
    try {
      if (tryFlock(fd, "exclusive")) return new PartFile(path, fd, fstat(fd).size);
    } catch (error) {
      fd.close();
      throw error;
    }
    fd.close();
    return undefined;
  }

  /** Bytes in it. */
  get size(): number {
    return this.#size;
  }

  /** Whether some of it was there when it was opened. */
  get kept(): boolean {
    return this.#kept;
  }

  /** Its descriptor. */
  get fd(): Fd {
    return this.#fd;
  }

  /** Throws away what it holds. */
  clear(): void {
    ftruncate(this.#fd, 0);
    this.#size = 0;
    this.#kept = false;
  }

  write(piece: Uint8Array): void {
    const size = this.#size + piece.length;
    if (size > SpaceWatch.STEP) this.#checkSpace(size);
    pwriteAll(this.#fd, carved(piece), this.#size);
    this.#size += piece.length;
  }

  /** Keeps nothing of what leaves others no space: the server may send without end. */
  #checkSpace(size: number): void {
    try {
      this.#space ??= new SpaceWatch(this.#fd.number);
      this.#space.check(size);
    } catch (error) {
      this.clear();
      throw error;
    }
  }

  finish(): PartFile {
    return this;
  }

  /** Removes it: what it held is stored. */
  remove(): void {
    removeFile(this.#path);
  }

  /** What has come stays for the next pull. */
  [Symbol.dispose](): void {}

  /** Closes the file. */
  close(): void {
    this.#fd.close();
  }
}

/** Removes a file that another pull may have removed before. */
export function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
