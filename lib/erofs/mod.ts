/**
 * Composefs EROFS images: writing them from a file tree and reading them back.
 *
 * @module
 */
export * from "./layout.ts";
