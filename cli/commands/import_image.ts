import { MAX_IMAGE_SIZE } from "../../lib/erofs/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { readInput, STDIN } from "../input.ts";

/** Declares `import-image`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("import-image")
    .description("Imports a composefs image from standard input and prints its object ID")
    .argument("<REFERENCE>", "Name to give it, use as refs/<name> elsewhere")
    .option("--force", "Store it even if it is no composefs image")
    .action((name, options) => {
      using repository = openRepository(context);
      repository.assertWritable();
      const bytes = readInput(STDIN, { limit: MAX_IMAGE_SIZE });
      const id = repository.writeImage(bytes, { name, force: options.force ?? false });
      context.stdout.line(`${repository.algorithm.hash}:${id}`);
    });
  return withNotes(declared, { examples: ["cfs --repo r import-image myimage < image.erofs"] });
}
