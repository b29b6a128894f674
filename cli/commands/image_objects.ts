import { withContext } from "../../lib/base/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `image-objects`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("image-objects")
    .description("Lists all object IDs referenced by an image")
    .argument("<NAME>", "The image, either an object ID digest or refs/…")
    .option("--json", "Output as JSON")
    .action((name, options) => {
      using repository = openRepository(context);
      let ids: readonly string[];
      try {
        ids = repository.imageObjects(name);
      } catch (cause) {
        throw withContext(`Collecting objects for image '${name}'`, cause);
      }
      const objects = ids.map((id) => `${repository.algorithm.hash}:${id}`);
      if (options.json) context.stdout.json({ objects });
      else for (const object of objects) context.stdout.line(object);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r image-objects refs/my/image", "cfs image-objects myimage --json"],
    complete: { "0": "image" },
  });
}
