import { tagImage } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { parseDigestArgument } from "../oci_names.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci tag`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("tag")
    .description("Tag an image with a new name")
    .argument(
      "<MANIFEST_DIGEST>",
      "Manifest digest, e.g. sha256:a1b2c3…",
      parsed(parseDigestArgument),
    )
    .argument("<NAME>", "Tag name to assign (must not begin with '@')")
    .action((digest, name) => {
      using repository = openRepository(context);
      tagImage(repository, digest, name);
      context.stdout.line(`Tagged ${digest} as ${name}`);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r oci tag sha256:b47c…c29a myimage:latest"],
    complete: { "0": "manifest" },
  });
}
