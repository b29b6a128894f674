import { importLayerStream } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { readPieces, STDIN } from "../input.ts";
import { parseDigestArgument } from "../oci_names.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `oci import-layer`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("import-layer")
    .description(
      "Import a tar layer from standard input as a splitstream in the repository\n\n" +
        "Its content must have the digest. Prints the ID of the splitstream.",
    )
    .argument("<DIGEST>", "Layer content digest, e.g. sha256:a1b2c3…", parsed(parseDigestArgument))
    .argument("[NAME]", "Optional human-readable name for the layer")
    .action(async (digest, name) => {
      using repository = openRepository(context);
      const { stream } = await context.working((progress) =>
        importLayerStream(repository, digest, {
          input: readPieces(STDIN),
          ...(name === undefined ? {} : { name }),
          progress,
        })
      );
      context.stdout.line(`${repository.algorithm.hash}:${stream}`);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci import-layer sha256:$(sha256sum < layer.tar | cut -c-64) < layer.tar",
    ],
  });
}
