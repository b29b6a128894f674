import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { rootId } from "../root_id.ts";
import { addRootOptions, type RootOptions } from "../scan_root.ts";

const DESCRIPTION = `Read rootfs located at a path and compute the composefs kernel argument string.

Like compute-id --bootable, but outputs the full kernel argument:
composefs.digest=v1-sha256-12:<hex>, or composefs=<hex> for EROFS format 2. A tree with an SELinux
policy is refused, since labelling it is not supported yet.`;

/** The format that has an argument of its own, older than the versioned one. */
const OLD_FORMAT = 2;

/** Declares `compute-karg`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("compute-karg")
    .description(DESCRIPTION)
    .argument("<PATH>", "The path to the filesystem")
    .action(async (path, options: RootOptions) => {
      const root = { ...options, bootable: true };
      const { id, version, algorithm } = await rootId(context, path, root);
      const optional = context.globals.insecure ? "?" : "";
      context.stdout.line(
        version === OLD_FORMAT
          ? `composefs=${optional}${id}`
          : `composefs.digest=${optional}v1-${algorithm.hash}-${algorithm.lgBlockSize}:${id}`,
      );
    });
  addRootOptions(declared, { bootable: false });
  return withNotes(declared, {
    examples: ["cfs --hash sha256 --erofs-version 1 compute-karg /mnt/base > /etc/kernel/cmdline"],
    complete: { "0": "directory" },
  });
}
