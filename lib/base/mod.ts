/**
 * What every room shares: errors with stable codes, byte strings, digests, cursors, hashing and
 * progress.
 *
 * @example Parse a digest
 * ```ts
 * import { Digest } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const digest = Digest.parse("sha256:" + "0".repeat(64));
 * assert.equal(digest.algorithm, "sha256");
 * ```
 *
 * @module
 */
export * from "./errors.ts";
export * from "./bytes.ts";
export * from "./hash.ts";
export * from "./node_hash.ts";
export * from "./sync_zlib.ts";
export * from "./zstd.ts";
export * from "./node_zstd.ts";
export * from "./digest.ts";
export * from "./reader.ts";
export * from "./progress.ts";
export * from "./wire_error.ts";
export * from "./pool.ts";
export * from "./turns.ts";
export * from "./pool_worker.ts";
