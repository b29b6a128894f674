import type { Algorithm, BlockHash, HashProvider } from "../base/mod.ts";
import { DESCRIPTOR, descriptor, DESCRIPTOR_SIZE } from "./descriptor.ts";

/** Block sizes by their log2: composefs uses 12; 16 exists so that the digest is general. */
export type LgBlockSize = 12 | 16;

/** One level of the Merkle tree: the block of hashes that is being filled. */
interface Level {
  readonly block: Uint8Array;
  filled: number;
}

/**
 * Computes fs-verity digests of streams (spec: repository 1.1). Memory is one block a level.
 * A hasher is reused: {@linkcode FsVerityHasher.digest} leaves it ready for the next file.
 */
export class FsVerityHasher {
  readonly #hash: BlockHash;
  readonly #algorithm: Algorithm;
  readonly #lg: LgBlockSize;
  readonly #blockSize: number;
  /** Content bytes that do not fill a block yet. */
  readonly #pending: Uint8Array;
  readonly #levels: Level[] = [];
  readonly #scratch: Uint8Array = new Uint8Array(DESCRIPTOR_SIZE);
  #filled = 0;
  #size = 0;

  /**
   * Creates a hasher.
   *
   * @param provider where the hash function comes from
   */
  constructor(
    algorithm: Algorithm,
    provider: HashProvider,
    options: { lgBlockSize?: LgBlockSize } = {},
  ) {
    this.#algorithm = algorithm;
    this.#hash = provider.block(algorithm.hash);
    this.#lg = options.lgBlockSize ?? 12;
    this.#blockSize = 2 ** this.#lg;
    this.#pending = new Uint8Array(this.#blockSize);
  }

  /** Number of content bytes added so far. */
  get size(): number {
    return this.#size;
  }

  /** Adds content. `bytes` must be carved from a buffer of more than 64 bytes. */
  update(bytes: Uint8Array): void {
    this.updateRange(bytes, 0, bytes.length);
  }

  /** Adds `bytes[start, end)`; saves a view where one buffer holds many files. */
  updateRange(bytes: Uint8Array, start: number, end: number): void {
    const blockSize = this.#blockSize;
    this.#size += end - start;
    let at = start;
    if (this.#filled > 0) {
      const take = Math.min(blockSize - this.#filled, end - at);
      this.#pending.set(bytes.subarray(at, at + take), this.#filled);
      this.#filled += take;
      at += take;
      if (this.#filled === blockSize) {
        this.#addHash(0, this.#pending, 0, blockSize);
        this.#filled = 0;
      }
    }
    while (end - at >= blockSize) at = this.#addBlocks(bytes, at, end);
    if (at < end) {
      this.#pending.set(bytes.subarray(at, end), 0);
      this.#filled = end - at;
    }
  }

  /** Hashes as many whole blocks as level 0 still takes; returns where it stopped. */
  #addBlocks(bytes: Uint8Array, start: number, end: number): number {
    const blockSize = this.#blockSize;
    const level = this.#levels[0] ??= { block: new Uint8Array(blockSize), filled: 0 };
    if (level.filled === blockSize) {
      this.#addHash(1, level.block, 0, blockSize);
      level.filled = 0;
    }
    const room = (blockSize - level.filled) / this.#hash.size;
    const count = Math.min(room, Math.floor((end - start) / blockSize));
    this.#hash.hashBlocks(
      bytes,
      { offset: start, size: blockSize, count },
      level.block,
      level.filled,
    );
    level.filled += count * this.#hash.size;
    return start + count * blockSize;
  }

  /** Hashes one block into a level. A full level is emitted only when the next hash arrives. */
  #addHash(index: number, data: Uint8Array, offset: number, length: number): void {
    const level = this.#levels[index] ??= { block: new Uint8Array(this.#blockSize), filled: 0 };
    if (level.filled === this.#blockSize) {
      this.#addHash(index + 1, level.block, 0, this.#blockSize);
      level.filled = 0;
    }
    this.#hash.hash(data, offset, length, level.block, level.filled);
    level.filled += this.#hash.size;
  }

  /** The digest of everything added; the hasher is then as new. */
  digest(): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(256);
    this.digestInto(out, 0);
    return out.slice(0, this.#hash.size);
  }

  /** Writes the digest into `out` (carved from a buffer of more than 64 bytes) at `offset`. */
  digestInto(out: Uint8Array, offset: number): void {
    const hash = this.#hash;
    const blockSize = this.#blockSize;
    if (this.#filled > 0) {
      this.#pending.fill(0, this.#filled);
      this.#addHash(0, this.#pending, 0, blockSize);
    }
    const scratch = this.#scratch;
    descriptor(scratch, { algorithm: this.#algorithm, lgBlockSize: this.#lg, size: this.#size });
    for (let index = 0;; index++) {
      const level = this.#levels[index];
      if (level === undefined || level.filled === 0) break; // empty file: the root hash is zeros
      const above = this.#levels[index + 1];
      if (level.filled === hash.size && (above === undefined || above.filled === 0)) {
        scratch.set(level.block.subarray(0, hash.size), DESCRIPTOR.rootHash[0]);
        break;
      }
      level.block.fill(0, level.filled);
      this.#addHash(index + 1, level.block, 0, blockSize);
    }
    hash.hash(scratch, 0, DESCRIPTOR_SIZE, out, offset);
    this.reset();
  }

  /** Forgets everything added. */
  reset(): void {
    for (const level of this.#levels) level.filled = 0;
    this.#filled = 0;
    this.#size = 0;
  }
}
