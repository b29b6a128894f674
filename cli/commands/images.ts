import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { boxTable } from "../table.ts";

/** Digits of a shortened digest. */
const SHORT = 12;

/** Declares `images`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("images")
    .description("List all named image references in the repository")
    .option("--json", "Output as JSON")
    .option("--no-trunc", "Show full digest instead of truncated form")
    .action((options) => {
      using repository = openRepository(context);
      const images = repository.listImages();
      if (options.json) {
        context.stdout.json({ images: images.map(({ name, digest }) => ({ name, digest })) });
      } else if (images.length === 0) {
        context.stdout.line("No images found");
      } else {
        const rows = images.map(({ name, digest }) => [
          name,
          options.trunc ? digest.slice(0, SHORT) : digest,
        ]);
        context.stdout.write(boxTable(["NAME", "DIGEST"], rows));
      }
    });
  return withNotes(declared, {
    examples: ["cfs images", "cfs --repo r images --json", "cfs images --no-trunc"],
  });
}
