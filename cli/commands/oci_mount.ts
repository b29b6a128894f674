import { withContext } from "../../lib/base/mod.ts";
import { mountableImage } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { addMountOptions, checkMountFlags, type MountFlags, mountImage } from "../mount_image.ts";
import { openImageArgument, parseImageArgument } from "../oci_names.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci mount`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("mount")
    .description("Mount an OCI image's composefs EROFS at the given mountpoint")
    .argument("<IMAGE>", "Tag, or manifest digest", parsed(parseImageArgument))
    .argument("<MOUNTPOINT>", "An existing directory")
    .option("--bootable", "Mount the bootable variant instead of the regular EROFS image")
    .action(async (name, mountpoint, flags: MountFlags & { bootable?: true }) => {
      checkMountFlags(flags);
      using repository = openRepository(context);
      const image = openImageArgument(repository, name);
      const id = mountableImage(repository, image, { boot: flags.bootable ?? false });
      try {
        await mountImage(repository, { id, name: id, mountpoint, flags });
      } catch (cause) {
        throw withContext(`Mounting image '${name}' at ${mountpoint}`, cause);
      }
    });
  addMountOptions(declared);
  return withNotes(declared, {
    examples: ["cfs --repo r oci mount myimage:latest /mnt", "cfs oci mount sha256:b47c…c29a /mnt"],
    complete: {
      "0": "tag-or-manifest",
      "1": "directory",
      "--upperdir": "directory",
      "--workdir": "directory",
    },
  });
}
