/**
 * The dumpfile: a file tree as text, one entry a line.
 *
 * @example Parse a dumpfile and write it again
 * ```ts
 * import { formatDumpfile, parseDumpfile } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const text = "/ 0 40755 2 0 0 0 1.0 - - -\n/a 2 100644 1 0 0 0 1.0 - hi -\n";
 * const tree = parseDumpfile(new TextEncoder().encode(text));
 * assert.deepEqual([...tree.root.entries.keys()], ["a"]);
 * assert.equal([...formatDumpfile(tree)].join(""), text);
 * ```
 *
 * @module
 */
export { DumpfileError } from "./error.ts";
export { formatDumpfile, formatEntry, type FormatEntryOptions, formatHardlink } from "./format.ts";
export {
  type DumpfileDialect,
  type DumpfileOptions,
  DumpfileParser,
  parseDumpfile,
} from "./parse.ts";
