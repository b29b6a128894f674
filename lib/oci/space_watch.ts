/** Giving up while there is still some space: a small blob can make a layer of any size. */
import { UnsupportedError } from "../base/mod.ts";
import { fstatfs } from "../../ffi/mod.ts";

/** Bytes of a layer between two looks at the free space. */
const LOOK_STEP = 16 * 1024 * 1024;
/** Free space that others are left, in bytes. */
const RESERVE = 16 * 1024 * 1024;

/** Watches the free space of the file system that a layer is stored on. */
export class SpaceWatch {
  readonly #dir: number;
  #look = LOOK_STEP;
  #available: number;

  /** Watches the file system that directory number `dir` is on. */
  constructor(dir: number) {
    this.#dir = dir;
    this.#available = fstatfs(dir).available;
  }

  /**
   * Looks now and then.
   *
   * @param size bytes of the layer so far
   * @throws {UnsupportedError} when nearly all space is taken, and becoming less
   */
  check(size: number): void {
    if (size < this.#look) return;
    this.#look = size + LOOK_STEP;
    const before = this.#available;
    this.#available = fstatfs(this.#dir).available;
    // Who only finds that everything is there already takes none.
    if (this.#available >= RESERVE || this.#available >= before) return;
    throw new UnsupportedError("No space left on device: the repository is nearly full", {
      detail: "no-space",
    });
  }
}
