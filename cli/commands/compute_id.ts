import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { imageId } from "../image_id.ts";
import { defaultsWithoutRepository, formatWithoutRepository } from "../open_repository.ts";
import { addRootOptions, readRoot, type RootOptions } from "../scan_root.ts";

/** Declares `compute-id`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("compute-id")
    .description(
      "Read rootfs located at a path and compute the composefs image object id of the rootfs\n\n" +
        "Nothing is stored; no repository is needed.",
    )
    .argument("<PATH>", "The path to the filesystem")
    .action(async (path, options: RootOptions) => {
      const defaults = defaultsWithoutRepository(context);
      const { algorithm } = defaults;
      const version = formatWithoutRepository(context, defaults);
      const tree = await readRoot(context, path, {
        scan: { hash: algorithm.hash },
        root: options,
      });
      context.stdout.line(imageId(tree, { version, algorithm }));
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
