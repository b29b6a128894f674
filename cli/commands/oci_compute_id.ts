import { parseXattrMode } from "../../lib/tree/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { parseImageArgument } from "../oci_names.ts";
import { imageId } from "../image_id.ts";
import { imageTree } from "../oci_tree.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci compute-id`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("compute-id")
    .description("Compute the composefs image ID of a stored OCI image's rootfs")
    .argument("<CONFIG_NAME>", "tag, or digest as @sha256:…", parsed(parseImageArgument))
    .argument("[CONFIG_VERITY]", "verity digest for the manifest stream to be verified against")
    .option("--bootable", "Whether bootable transformation should be performed on the image rootfs")
    .addOption(
      new Option(
        "--xattrs <XATTRS>",
        "Which extended attributes to keep: allowlist-only (default) or keep-user-xattrs",
      )
        .argParser(parsed(parseXattrMode)),
    )
    .action((image, verity, options) => {
      using repository = openRepository(context);
      const tree = imageTree(context, repository, {
        image,
        verity,
        xattrs: options.xattrs ?? "allowlist-only",
        bootable: options.bootable ?? false,
      });
      const version = repository.formats[0]!;
      context.stdout.line(imageId(tree, { version, algorithm: repository.algorithm }));
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci compute-id myimage:latest",
      "cfs --repo r oci compute-id @sha256:b47c…c29a",
    ],
    complete: { "0": "tag-or-manifest", "--xattrs": "xattrs" },
  });
}
