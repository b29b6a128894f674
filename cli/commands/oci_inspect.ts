import { linkedImage, listReferrers } from "../../lib/oci/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { openImageArgument, parseImageArgument } from "../oci_names.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Show information about an OCI image

By default, outputs JSON with manifest, config, and referrers. Use --manifest or --config to output
just that raw JSON.`;

/** Declares `oci inspect`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("inspect")
    .description(DESCRIPTION)
    .argument("<IMAGE>", "Tag, or manifest digest as @sha256:…", parsed(parseImageArgument))
    .addOption(
      new Option("--manifest", "Output only the raw manifest JSON (as originally stored)")
        .conflicts("config"),
    )
    .option("--config", "Output only the raw config JSON (as originally stored)")
    .action((name, options) => {
      using repository = openRepository(context);
      const image = openImageArgument(repository, name);
      if (options.manifest || options.config) {
        context.stdout.bytes((options.manifest ? image.manifestStream : image.configStream).bytes);
        context.stdout.write("\n");
        return;
      }
      const text = new TextDecoder();
      const version = repository.formats[0]!;
      const { refs } = image.configStream;
      context.stdout.json({
        manifest: text.decode(image.manifestStream.bytes),
        config: text.decode(image.configStream.bytes),
        referrers: listReferrers(repository, image.manifestDigest),
        composefs_erofs: linkedImage(refs, version) ?? null,
        composefs_boot_erofs: linkedImage(refs, version, true) ?? null,
      });
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci inspect myimage:latest",
      "cfs oci inspect --config @sha256:b47c…c29a | jq .rootfs",
    ],
    complete: { "0": "tag-or-manifest" },
  });
}
