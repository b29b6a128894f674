/** The names of the other tools this program is, apart from their code. */

/** Names of the tools, for people. */
export const TOOL_NAMES = [
  "composefs-dump",
  "composefs-info",
  "mkcomposefs",
  "mount.composefs",
] as const;

/** The one that the scripts of `cfs completions` call. */
export const COMPLETE = "__complete";
