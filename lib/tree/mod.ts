/**
 * The in-memory file tree that images are written from and read into.
 *
 * @module
 */
export * from "./tree.ts";
