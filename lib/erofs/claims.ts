import { INODE_SLOT } from "./layout.ts";
import { type ErofsImage, invalidImage } from "./read.ts";

/**
 * Bounds the work that an image can cause: each inode is visited once, and what inodes, blocks and
 * shared extended attributes take together cannot be more than the image holds. In a sound image
 * these do not overlap, so only a hostile one is refused.
 */
export class Claims {
  readonly #visited: Uint8Array;
  #left: number;

  /** Starts with nothing visited; everything may be charged `times` over. */
  constructor(image: ErofsImage, times = 1) {
    this.#left = image.bytes.length * times;
    this.#visited = new Uint8Array(Math.ceil(image.bytes.length / INODE_SLOT / 8));
  }

  /**
   * Marks an inode that is in the image as visited.
   *
   * @returns false when it was visited before
   */
  visit(nid: number): boolean {
    const bit = 1 << (nid & 7);
    const at = nid >>> 3;
    const before = this.#visited[at]!;
    if ((before & bit) !== 0) return false;
    this.#visited[at] = before | bit;
    return true;
  }

  /**
   * Takes `size` bytes from what the image holds.
   *
   * @throws {FormatError} when more was taken than the image holds
   */
  spend(size: number): void {
    this.#left -= size;
    if (this.#left < 0) throw invalidImage("its parts overlap");
  }
}
