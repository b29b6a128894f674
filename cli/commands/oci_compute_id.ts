import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { parseImageArgument } from "../oci_names.ts";
import { imageId } from "../image_id.ts";
import { addTreeOptions, imageTree, type TreeFlags } from "../oci_tree.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci compute-id`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("compute-id")
    .description("Compute the composefs image ID of a stored OCI image's rootfs")
    .argument("<CONFIG_NAME>", "Tag, or digest as @sha256:…", parsed(parseImageArgument))
    .argument("[CONFIG_VERITY]", "Verity digest for the manifest stream to be verified against")
    .action((image, verity, flags: TreeFlags) => {
      using repository = openRepository(context);
      const tree = imageTree(context, repository, { image, verity, flags });
      const version = repository.formats[0]!;
      context.stdout.line(imageId(tree, { version, algorithm: repository.algorithm }));
    });
  addTreeOptions(declared);
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci compute-id myimage:latest",
      "cfs --repo r oci compute-id @sha256:b47c…c29a",
    ],
    complete: { "0": "tag-or-manifest", "--xattrs": "xattrs" },
  });
}
