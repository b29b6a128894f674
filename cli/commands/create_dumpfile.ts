import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { defaultsWithoutRepository } from "../open_repository.ts";
import { addRootOptions, readRoot, type RootOptions } from "../scan_root.ts";

/** Declares `create-dumpfile`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("create-dumpfile")
    .description(
      "Read rootfs located at a path and dump it to a composefs dumpfile\n\n" +
        "Writes to stdout; nothing is stored, no repository is needed.",
    )
    .argument("<PATH>", "The path to the filesystem")
    .action(async (path, options: RootOptions) => {
      const { algorithm } = defaultsWithoutRepository(context);
      const tree = await readRoot(context, path, {
        scan: { hash: algorithm.hash },
        root: options,
      });
      for (const piece of formatDumpfile(tree)) context.stdout.write(piece);
    });
  addRootOptions(declared, { bootable: true });
  return withNotes(declared, {
    examples: ["cfs create-dumpfile /srv/root > root.dump"],
    complete: { "0": "directory", "--xattrs": "xattrs" },
  });
}
