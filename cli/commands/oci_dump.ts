import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import { parseXattrMode } from "../../lib/tree/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { parseImageArgument } from "../oci_names.ts";
import { imageTree } from "../oci_tree.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci dump`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("dump")
    .description("Dump the rootfs of a stored OCI image as a composefs dumpfile to stdout")
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
      for (const piece of formatDumpfile(tree)) context.stdout.write(piece);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r oci dump myimage:latest", "cfs --repo r oci dump @sha256:b47c…c29a"],
    complete: { "0": "tag-or-manifest", "--xattrs": "xattrs" },
  });
}
