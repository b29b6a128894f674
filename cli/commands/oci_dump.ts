import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { parseImageArgument } from "../oci_names.ts";
import { addTreeOptions, imageTree, type TreeFlags } from "../oci_tree.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci dump`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("dump")
    .description("Dump the rootfs of a stored OCI image as a composefs dumpfile to stdout")
    .argument("<CONFIG_NAME>", "Tag, or digest as @sha256:…", parsed(parseImageArgument))
    .argument("[CONFIG_VERITY]", "Verity digest for the manifest stream to be verified against")
    .action((image, verity, flags: TreeFlags) => {
      using repository = openRepository(context);
      const tree = imageTree(context, repository, { image, verity, flags });
      for (const piece of formatDumpfile(tree)) context.stdout.write(piece);
    });
  addTreeOptions(declared);
  return withNotes(declared, {
    examples: ["cfs --repo r oci dump myimage:latest", "cfs --repo r oci dump @sha256:b47c…c29a"],
    complete: { "0": "tag-or-manifest", "--xattrs": "xattrs" },
  });
}
