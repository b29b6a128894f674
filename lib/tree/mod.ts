/**
 * The in-memory file tree that images are written from and read into, and its transformations.
 *
 * @example Build a tree and look into it
 * ```ts
 * import { countLinks, Directory, Leaf, lookupLeaf, NO_XATTRS, type Stat } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const stat: Stat = { mode: 0o755, uid: 0, gid: 0, mtimeSec: 0n, mtimeNsec: 0, xattrs: NO_XATTRS };
 * const root = new Directory(stat);
 * const file = new Leaf(stat, { type: "inline", data: new Uint8Array(3) });
 * root.entries.set("a", file).set("b", file);
 * assert.equal(lookupLeaf(root, "/b"), file);
 * assert.equal(countLinks({ root }).get(file), 2);
 * ```
 *
 * @module
 */
export * from "./tree.ts";
export * from "./notes.ts";
export * from "./file_tree.ts";
export * from "./links.ts";
export * from "./lookup.ts";
export * from "./transform.ts";
