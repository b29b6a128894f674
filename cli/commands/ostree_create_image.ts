import { createCommitImage, findCommit } from "../../lib/ostree/mod.ts";
import { checkRefName } from "../../lib/repository/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Make the composefs image of an ostree commit and give it a name

The image that is stored with the commit is made anew and replaced when it differs, as the images do
that releases of the reference up to 0.9.4 made of commits with extended attributes.`;

/** Declares `ostree create-image`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("create-image")
    .description(DESCRIPTION)
    .argument("<COMMIT_NAME>", "Tag, commit ID, or the beginning of one")
    .option("--image-name <NAME>", "Reference name for the image, use as refs/<name> elsewhere")
    .action((source, { imageName }) => {
      using repository = openRepository(context);
      if (imageName !== undefined) checkRefName(imageName);
      repository.assertWritable();
      const commit = findCommit(repository, source);
      const { image, replaced } = createCommitImage(repository, commit);
      if (replaced !== undefined) context.note(`replaces the image ${replaced}`);
      if (imageName !== undefined) {
        repository.setRef("images", imageName, { entry: image });
        repository.sync();
      }
      context.stdout.line(`${repository.algorithm.hash}:${image}`);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree create-image stable --image-name stable"],
    complete: { "0": "ostree-commit" },
  });
}
