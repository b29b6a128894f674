/**
 * Hashing as the pure rooms see it: an interface that is handed in, so that the same code runs with
 * libcrypto through FFI, with `node:crypto`, in a worker or in a browser.
 *
 * @module
 */

/** The hash functions that composefs uses. */
export type HashName = "sha256" | "sha512";

/** Digest sizes in bytes. */
export const HASH_SIZE: Readonly<Record<HashName, 32 | 64>> = { sha256: 32, sha512: 64 };

/** An incremental hash; after {@linkcode StreamHash.digest} it must not be used again. */
export interface StreamHash {
  /** Adds bytes. */
  update(bytes: Uint8Array): void;
  /** The digest of everything added. */
  digest(): Uint8Array;
  /** An independent one that has been given the same bytes. */
  copy(): StreamHash;
}

/**
 * Hashes single blocks. Both buffers must be carved from an `ArrayBuffer` of more than 64 bytes
 * (V8 moves smaller ones, and an FFI implementation takes their addresses).
 */
export interface BlockHash {
  /** The hash function. */
  readonly name: HashName;
  /** Digest size in bytes. */
  readonly size: 32 | 64;
  /** Writes the digest of `data[offset, offset + length)` to `out` at `outOffset`. */
  hash(data: Uint8Array, offset: number, length: number, out: Uint8Array, outOffset: number): void;
  /**
   * Hashes `blocks.count` blocks of `blocks.size` bytes that follow each other from `blocks.offset`,
   * and writes their digests one after the other to `out` at `outOffset`.
   */
  hashBlocks(
    data: Uint8Array,
    blocks: { readonly offset: number; readonly size: number; readonly count: number },
    out: Uint8Array,
    outOffset: number,
  ): void;
}

/** Where hashes come from. */
export interface HashProvider {
  /** Name of the implementation, for `--version` and tests. */
  readonly implementation: string;
  /** The block hash of a function; cheap, may be shared by callers of one thread. */
  block(name: HashName): BlockHash;
  /** A new incremental hash. */
  stream(name: HashName): StreamHash;
}
