import { simpleSignatures, trustBundle } from "../../lib/oci/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, requiredOption, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { writeOutputFile } from "../output_file.ts";
import { identityOption, lookasideOption, registriesDOption } from "../trust_options.ts";

const DESCRIPTION = `Write the documents and signatures of an image to a file

The file is an OCI layout in a tar: manifest, config and signatures, but no layers, no keys and no
policy. Another machine that has the image can check it with it: trust check --bundle FILE.`;

/** Declares `trust export`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("export")
    .description(DESCRIPTION)
    .argument("<IMAGE>", "Stored image")
    .addOption(requiredOption(new Option("-o, --output <FILE>", "Where it goes")))
    .addOption(identityOption())
    .addOption(registriesDOption())
    .addOption(lookasideOption())
    .option("--json", "Output as JSON")
    .action(async (name, options) => {
      const { identity } = options;
      const output = options.output!;
      using repository = openRepository(context);
      const simple = await simpleSignatures(repository, name, {
        identity,
        lookaside: options.lookaside,
        registriesD: options["registries.d"],
      });
      for (const { place, reason } of simple.faults) context.warn(`${place}: ${reason}`);
      const bytes = await trustBundle(repository, name, {
        names: identity === undefined ? [] : [identity],
        simple,
      });
      writeOutputFile(output, bytes, `Writing ${output}`);
      if (options.json) context.stdout.json({ file: output, size: bytes.length });
      else context.stdout.line(`${output}: ${bytes.length} bytes`);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r trust export --identity registry.example.org/os:41 -o os.trust.tar myimage",
    ],
    complete: { "0": "tag", "--output": "file" },
  });
}
