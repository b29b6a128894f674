/**
 * The other tools this program is, by the name it is called by or by its first argument.
 *
 * @module
 */
import type { Context } from "./context.ts";

/** A file in `tools/`. */
export interface ToolModule {
  /**
   * Runs the tool.
   *
   * @param args Its arguments.
   * @param context Outputs; there are no global options.
   * @returns The exit code.
   */
  run(args: readonly string[], context: Context): Promise<number>;
}

const TOOLS: Readonly<Record<string, () => Promise<ToolModule>>> = {
  __complete: () => import("./tools/complete.ts"),
  "composefs-dump": () => import("./tools/composefs_dump.ts"),
  "composefs-info": () => import("./tools/composefs_info.ts"),
  mkcomposefs: () => import("./tools/mkcomposefs.ts"),
  "mount.composefs": () => import("./tools/mount_composefs.ts"),
};

/** Names of the tools. */
export const TOOL_NAMES: readonly string[] = Object.keys(TOOLS);

/** A tool with its arguments. */
export interface FoundTool {
  /** Runs it. */
  run(context: Context): Promise<number>;
}

/**
 * Finds the tool that is meant, if it is one.
 *
 * @param programName Name the program was called by.
 * @param args Its arguments.
 */
export async function findTool(
  programName: string,
  args: readonly string[],
): Promise<FoundTool | undefined> {
  const byName = Object.hasOwn(TOOLS, programName);
  const name = byName ? programName : args[0];
  if (name === undefined || !Object.hasOwn(TOOLS, name)) return undefined;
  const { run } = await TOOLS[name]!();
  return { run: (context) => run(byName ? args : args.slice(1), context) };
}
