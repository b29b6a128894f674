import { withContext } from "../../lib/base/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { addMountOptions, checkMountFlags, type MountFlags, mountImage } from "../mount_image.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `mount`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("mount")
    .description("Mounts a composefs image; a repository with fs-verity has it enforced")
    .argument("<NAME>", "The image: its digest, refs/… or a name without slashes")
    .argument("<MOUNTPOINT>", "An existing directory")
    .action(async (name, mountpoint, flags: MountFlags) => {
      checkMountFlags(flags);
      using repository = openRepository(context);
      try {
        const id = repository.findImage(name);
        await mountImage(repository, { id, name, mountpoint, flags });
      } catch (cause) {
        throw withContext(`Mounting image '${name}' at ${mountpoint}`, cause);
      }
    });
  addMountOptions(declared);
  return withNotes(declared, {
    examples: [
      "cfs --repo r mount myimage /mnt",
      "cfs mount refs/a/b /mnt --read-write --upperdir /var/u --workdir /var/w",
    ],
    complete: {
      "0": "image",
      "1": "directory",
      "--upperdir": "directory",
      "--workdir": "directory",
    },
  });
}
