import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { rootId } from "../root_id.ts";
import { addRootOptions, type RootOptions } from "../scan_root.ts";

/** Declares `compute-id`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("compute-id")
    .description(
      "Read rootfs located at a path and compute the composefs image object id of the rootfs\n\n" +
        "Nothing is stored; no repository is needed.",
    )
    .argument("<PATH>", "The path to the filesystem")
    .action(async (path, options: RootOptions) => {
      const { id } = await rootId(context, path, options);
      context.stdout.line(id);
    });
  addRootOptions(declared, { bootable: true });
  return withNotes(declared, {
    examples: [
      "cfs compute-id /srv/root",
      "cfs --hash sha256 --erofs-version 2 compute-id /srv/root",
    ],
    complete: { "0": "directory", "--xattrs": "xattrs" },
  });
}
