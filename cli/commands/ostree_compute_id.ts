import { commitTree, findCommit, openCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { imageId } from "../image_id.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `ostree compute-id`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("compute-id")
    .description("Compute the composefs image ID of an ostree commit")
    .argument("<COMMIT_NAME>", "Tag, commit ID, or the beginning of one")
    .action((name) => {
      using repository = openRepository(context);
      const { checksum, chunk, image } = openCommit(repository, findCommit(repository, name));
      const tree = commitTree(checksum, (id) => chunk.get(id));
      const version = repository.formats[0]!;
      const id = imageId(tree, { version, algorithm: repository.algorithm });
      // Older releases of the reference stored images whose attributes cannot be read.
      if (image !== undefined && image !== id && context.globals.erofsVersion === undefined) {
        context.warn(`the stored image is ${image}; create-image makes the right one`);
      }
      context.stdout.line(id);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree compute-id stable"],
    complete: { "0": "ostree-commit" },
  });
}
