import { siblingImages } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci linked-erofs-images`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("linked-erofs-images")
    .description(
      "List all EROFS images linked to the same OCI image\n\n" +
        "Outputs a JSON array of them, each with its format and whether it is for booting.",
    )
    .argument("<VERITY>", "One of them: an object ID digest or refs/…")
    .action((name) => {
      using repository = openRepository(context);
      context.stdout.json(siblingImages(repository, repository.findImage(name)));
    });
  return withNotes(declared, {
    examples: ["cfs --repo r oci linked-erofs-images d998da90…bf358"],
    complete: { "0": "image" },
  });
}
