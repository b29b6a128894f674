import { NotFoundError, withContext } from "../../lib/base/mod.ts";
import { findCommit, openCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { addMountOptions, checkMountFlags, type MountFlags, mountImage } from "../mount_image.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `ostree mount`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("mount")
    .description("Mount an ostree commit's composefs EROFS at the given mountpoint")
    .argument("<COMMIT>", "Tag, commit ID, or the beginning of one")
    .argument("<MOUNTPOINT>", "An existing directory")
    .action(async (name, mountpoint, flags: MountFlags) => {
      checkMountFlags(flags);
      using repository = openRepository(context);
      const { image } = openCommit(repository, findCommit(repository, name));
      if (image === undefined) {
        const message = `no composefs image linked to '${name}' — try re-pulling`;
        throw new NotFoundError("commit image", name, { message });
      }
      try {
        await mountImage(repository, { id: image, name: image, mountpoint, flags });
      } catch (cause) {
        throw withContext(`Mounting commit '${name}' at ${mountpoint}`, cause);
      }
    });
  addMountOptions(declared);
  return withNotes(declared, {
    examples: ["cfs --repo r ostree mount stable /mnt"],
    complete: {
      "0": "ostree-commit",
      "1": "directory",
      "--upperdir": "directory",
      "--workdir": "directory",
    },
  });
}
