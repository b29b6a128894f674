import { unmount } from "../../lib/mount/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";

/** Declares `umount`. */
export function command(_context: Context): CommandUnknownOpts {
  const declared = newCommand("umount")
    .description("Unmounts a composefs image")
    .argument("<MOUNTPOINT>", "Where it is mounted")
    .option("-l, --lazy", "Detach it now, and take it down when its last user is gone")
    .action((mountpoint, options) => unmount(mountpoint, { detach: options.lazy ?? false }));
  return withNotes(declared, {
    examples: ["cfs umount /mnt", "cfs umount --lazy /mnt"],
    complete: { "0": "directory" },
  });
}
