/**
 * The other tools this program is, by the name it is called by or by its first argument.
 *
 * @module
 */
import type { Context } from "./context.ts";
import { COMPLETE, type TOOL_NAMES } from "./tool_names.ts";

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

type ToolName = typeof TOOL_NAMES[number] | typeof COMPLETE;

const TOOLS: Readonly<Record<ToolName, () => Promise<ToolModule>>> = {
  [COMPLETE]: () => import("./tools/complete.ts"),
  "composefs-dump": () => import("./tools/composefs_dump.ts"),
  "composefs-info": () => import("./tools/composefs_info.ts"),
  mkcomposefs: () => import("./tools/mkcomposefs.ts"),
  "mount.composefs": () => import("./tools/mount_composefs.ts"),
};

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
  const byName = isTool(programName);
  const name = byName ? programName : args[0];
  if (name === undefined || !isTool(name)) return undefined;
  const { run } = await TOOLS[name]();
  return { run: (context) => run(byName ? args : args.slice(1), context) };
}

function isTool(name: string): name is ToolName {
  return Object.hasOwn(TOOLS, name);
}
