import { withContext } from "../../lib/base/mod.ts";
import { untagImage } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci untag`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("untag")
    .description("Remove a tag from an image; the image goes with the next garbage collection")
    .argument("<NAME>", "Tag name to remove")
    .action((name) => {
      using repository = openRepository(context);
      try {
        untagImage(repository, name);
      } catch (cause) {
        throw withContext(`Failed to remove tag ${name}`, cause);
      }
      context.stdout.line(`Removed tag ${name}`);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r oci untag myimage:latest"],
    complete: { "0": "tag" },
  });
}
