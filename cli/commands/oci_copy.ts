import { Repository } from "../../lib/repository/mod.ts";
import { copyImage } from "../../lib/oci/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, requiredOption, withNotes } from "../declare.ts";
import { jobsOption } from "../jobs.ts";
import { openImageArgument, parseImageArgument } from "../oci_names.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION =
  `Copy an OCI image (and its layers) from another composefs repository into this repository

The repositories may have different hash algorithms. Layers are compared with their digests on the
way. --zerocopy shares blocks (reflink) or files (hard links) instead of copying them, which needs
the same file system and the same algorithm; it fails where nothing can be shared.`;

/** Declares `oci copy`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("copy")
    .description(DESCRIPTION)
    .argument("<IMAGE>", "Image to copy (tag name or @digest)", parsed(parseImageArgument))
    .addOption(
      requiredOption(new Option("--from <FROM>", "Path to the source composefs repository")),
    )
    .option("--name <NAME>", "Tag to assign to the image in the destination repository")
    .option("--zerocopy", "Share blocks or files instead of copying them")
    .option("--no-referrers", "Leave out signatures and other artifacts that refer to the image")
    .addOption(jobsOption())
    .option("--json", "Output the result as JSON")
    .action(async (reference, options) => {
      const path = options.from!;
      using repository = openRepository(context);
      using from = Repository.open(path, {
        notice: (text) => context.warn(text),
      });
      const result = await context.working((progress) =>
        copyImage(repository, openImageArgument(from, reference), {
          from,
          name: options.name,
          zerocopy: options.zerocopy ?? false,
          referrers: options.referrers,
          jobs: options.jobs,
          progress,
        })
      );
      const { stdout } = context;
      if (options.json) {
        stdout.json({
          manifest_digest: result.manifestDigest,
          manifest_verity: result.manifestStream,
          config_digest: result.configDigest,
          config_verity: result.configStream,
          tag: options.name ?? null,
          referrers: result.referrers,
        });
        return;
      }
      const tagged = options.name === undefined ? "" : `, tagged as ${options.name}`;
      stdout.line(`Copied image ${reference} from ${path} to destination repo${tagged}`);
      stdout.line(`Manifest digest: ${result.manifestDigest}`);
      stdout.line(`Manifest verity: ${result.manifestStream}`);
      stdout.line(`Config digest:   ${result.configDigest}`);
      stdout.line(`Config verity:   ${result.configStream}`);
      for (const referrer of result.referrers) stdout.line(`Referrer:        ${referrer}`);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci copy --from other --name myimage myimage",
      "cfs --repo r oci copy --from other --zerocopy @sha256:…",
    ],
    complete: { "--from": "directory" },
  });
}
