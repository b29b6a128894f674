import { pushImage, type PushResult } from "../../lib/oci/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { collect, newCommand, parsed, withNotes } from "../declare.ts";
import { jobsOption, parseCount } from "../jobs.ts";
import { openImageArgument, parseImageArgument } from "../oci_names.ts";
import { openRepository } from "../open_repository.ts";
import { writeOutputFile } from "../output_file.ts";
import { registryAccess, withRegistryOptions } from "../registry_options.ts";
import { formatSize } from "../size.ts";

const DESCRIPTION = `Push a stored image to a registry, a layout, an archive or a directory

DESTINATION is docker://HOST/NAME[:TAG], oci:PATH[:TAG], oci-archive:PATH[:TAG] or dir:PATH. Layers
are made again byte by byte and checked against their digests on the way; how they are compressed
gives the same blobs each time. Blobs that the destination has are kept. When the blobs of the stored
manifest cannot be made again, the image gets a new manifest with the same config. Layers that the
registry has in the repository that the image was pulled from, as its tags tell, or in one named with
--mount-from, are taken from there.`;

const COMPRESSIONS = ["gzip", "zstd", "none"] as const;

function show({ stdout }: Context, result: PushResult, destination: string): void {
  const { manifestDigest, sourceDigest, stats } = result;
  stdout.line(`manifest ${manifestDigest}`);
  if (!manifestDigest.equals(sourceDigest)) stdout.line(`source   ${sourceDigest}`);
  stdout.line(`config   ${result.configDigest}`);
  for (const referrer of result.referrers) stdout.line(`referrer ${referrer}`);
  stdout.line(`pushed   ${destination}`);
  const counts = `${stats.blobsWritten} new + ${stats.blobsPresent} already present`;
  stdout.line(`layers   ${counts}; ${formatSize(stats.bytesWritten)} written`);
}

/** Declares `oci push`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = withRegistryOptions(
    newCommand("push")
      .description(DESCRIPTION)
      .argument("<IMAGE>", "Tag, or manifest digest as @sha256:…", parsed(parseImageArgument))
      .argument("<DESTINATION>", "Where the image goes")
      .addOption(
        new Option("--compress <FORMAT>", "How to compress layers (defaults to how they came)")
          .choices(COMPRESSIONS),
      )
      .addOption(
        new Option("--level <LEVEL>", "Level of compression (defaults to 6 of gzip, 3 of zstd)")
          .argParser(parsed(parseCount)),
      )
      .addOption(
        new Option("--format <FORMAT>", "Kind of manifest (defaults to that of the image)")
          .choices(["oci", "v2s2"] as const),
      )
      .addOption(
        new Option(
          "--mount-from <NAME>",
          "Another repository of the registry, as HOST/NAME, that may have the layers (may be repeated)",
        ).argParser(collect),
      )
      .option("--referrers", "Push the artifacts that refer to the image, too")
      .option("--digestfile <FILE>", "Write the digest of the pushed manifest to a file")
      .addOption(jobsOption("Layers at a time (defaults to the number of processors)"))
      .option("--json", "Output the result as JSON"),
  )
    .action(async (reference, destination, options) => {
      using repository = openRepository(context);
      const access = await registryAccess(context, options);
      const result = await context.working((progress) =>
        pushImage(repository, openImageArgument(repository, reference), {
          destination,
          ...(options.compress === undefined ? {} : { compress: options.compress }),
          ...(options.level === undefined ? {} : { level: options.level }),
          ...(options.format === undefined ? {} : { format: options.format }),
          ...(options.jobs === undefined ? {} : { jobs: options.jobs }),
          access,
          mountFrom: options.mountFrom ?? [],
          referrers: options.referrers ?? false,
          progress,
        })
      );
      if (options.digestfile !== undefined) {
        const text = new TextEncoder().encode(result.manifestDigest.toString());
        writeOutputFile(options.digestfile, text, `Writing ${options.digestfile}`);
      }
      if (!options.json) {
        show(context, result, destination);
        if (!result.manifestDigest.equals(result.sourceDigest)) {
          context.stdout.flush();
          context.note("the layers were packed in another way, which makes it another manifest");
        }
        return;
      }
      const { stats } = result;
      context.stdout.json({
        manifest_digest: result.manifestDigest,
        source_digest: result.sourceDigest,
        config_digest: result.configDigest,
        referrers: result.referrers,
        destination,
        stats: {
          blobs_written: stats.blobsWritten,
          bytes_written: stats.bytesWritten,
          blobs_present: stats.blobsPresent,
        },
      });
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci push myimage docker://registry.example/team/image:v1",
      "cfs --repo r oci push myimage oci:layout:latest",
      "cfs oci push --compress zstd myimage oci-archive:image.tar:v1",
    ],
    complete: { "0": "tag-or-manifest", "1": "destination" },
  });
}
