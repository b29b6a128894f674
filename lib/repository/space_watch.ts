/** Giving up while there is still some space: what servers send can come to any size. */
import { UnsupportedError } from "../base/mod.ts";
import { fstatfs } from "../../ffi/mod.ts";

/** Free space that others are left, in bytes. */
const RESERVE = 16 * 1024 * 1024;

/** Watches the free space of the file system that something is stored on. */
export class SpaceWatch {
  /** Bytes between two looks at the free space: what is smaller needs no watch. */
  static readonly STEP: number = 16 * 1024 * 1024;
  readonly #dir: number;
  #look = SpaceWatch.STEP;
  #available: number;

  /** Watches the file system that the open file or directory with number `dir` is on. */
  constructor(dir: number) {
    this.#dir = dir;
    this.#available = fstatfs(dir).available;
  }

  /**
   * Looks now and then.
   *
   * @param size bytes that were stored so far
   * @throws {UnsupportedError} when nearly all space is taken, and becoming less
   */
  check(size: number): void {
    if (size < this.#look) return;
    this.#look = size + SpaceWatch.STEP;
    const before = this.#available;
    this.#available = fstatfs(this.#dir).available;
    // Who only finds that everything is there already takes none.
    if (this.#available >= RESERVE || this.#available >= before) return;
    throw new UnsupportedError("No space left on device: the repository is nearly full", {
      detail: "no-space",
    });
  }
}
