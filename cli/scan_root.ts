/** Reading a root file system from a directory, as the create and compute commands do. */
import { withContext } from "../lib/base/mod.ts";
import { scanDirectory, type ScanOptions } from "../lib/scan/mod.ts";
import {
  containerRootTransform,
  type FileTree,
  parseXattrMode,
  type XattrMode,
} from "../lib/tree/mod.ts";
import { makeBootable } from "./bootable.ts";
import { type CommandUnknownOpts, Option } from "./commander.ts";
import type { Context } from "./context.ts";
import { parsed } from "./declare.ts";

/** How to transform what was read. */
export interface RootOptions {
  /** `--bootable`. */
  bootable?: boolean;
  /** `--no-propagate-usr-to-root`. */
  noPropagateUsrToRoot?: boolean;
  /** `--xattrs`. */
  xattrs?: XattrMode;
}

/**
 * Declares the options that the commands reading a root file system share.
 *
 * @param command The command.
 * @param options `bootable`: whether the transformation for booting is a choice.
 */
export function addRootOptions(command: CommandUnknownOpts, options: { bootable: boolean }): void {
  if (options.bootable) {
    command.option("--bootable", "Transform the filesystem for boot (empty /boot and /sysroot)");
  }
  const propagate = new Option(
    "--no-propagate-usr-to-root",
    "Don't copy /usr metadata to root directory (use if root already has well-defined metadata)",
  );
  // Without this the parser would take it as the opposite of an option that is on by default.
  propagate.negate = false;
  propagate.attributeName = () => "noPropagateUsrToRoot";
  command.addOption(propagate);
  if (!options.bootable) return;
  command.addOption(
    new Option(
      "--xattrs <XATTRS>",
      "Which extended attributes to keep: allowlist-only (default) or keep-user-xattrs; " +
        "has no effect together with --no-propagate-usr-to-root",
    ).argParser(parsed(parseXattrMode)),
  );
}

/**
 * Reads a root file system and transforms it.
 *
 * @param context For warnings and progress.
 * @param path The directory.
 * @param options How to read, and how to transform.
 * @throws {ComposefsError} when something cannot be read, or is not as a root must be
 */
export async function readRoot(
  context: Context,
  path: string,
  options: { scan: ScanOptions; root: RootOptions },
): Promise<FileTree> {
  const { scan, root } = options;
  let result;
  try {
    // The reference follows a link that is given as the root.
    const directory = Deno.realPathSync(path);
    result = await context.working((progress) => scanDirectory(directory, { ...scan, progress }));
  } catch (cause) {
    throw withContext(`Reading container root from ${path}`, cause);
  }
  for (const warning of result.warnings) context.warn(warning);
  if (!root.noPropagateUsrToRoot) {
    containerRootTransform(result.tree, { xattrs: root.xattrs ?? "allowlist-only" });
  }
  if (root.bootable) makeBootable(result.tree);
  return result.tree;
}
