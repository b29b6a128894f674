import { repairImage } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { jobsOption } from "../jobs.ts";
import { parseImageArgument } from "../oci_names.ts";
import { platformOption } from "../platform_option.ts";
import { openRepository } from "../open_repository.ts";
import { registryAccess, withRegistryOptions } from "../registry_options.ts";

const DESCRIPTION = `Repair a damaged image from wherever it can be had

SOURCE is the path of another repository, or an image reference such as docker://…, oci:… or
oci-archive:…; without it the image's tag is taken, when that is one. Only what is damaged or missing
is fetched: single objects from a repository with the same hash algorithm, else the layers that need
them. Everything is checked before it takes the place of what is there.`;

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Declares `oci repair`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = withRegistryOptions(
    newCommand("repair")
      .description(DESCRIPTION)
      .argument("<IMAGE>", "Tag, or manifest digest as @sha256:…", parsed(parseImageArgument))
      .option("--from <SOURCE>", "Repository or image reference to repair from")
      .addOption(platformOption())
      .addOption(jobsOption())
      .option("--json", "Output the result as JSON"),
  )
    .action(async (reference, options) => {
      using repository = openRepository(context);
      const registry = await registryAccess(context, options);
      const result = await context.working((progress) =>
        repairImage(repository, reference, {
          from: options.from,
          platform: options.platform,
          registry,
          jobs: options.jobs,
          progress,
        })
      );
      const { stdout } = context;
      const { faults, layersImported, objectsRestored } = result;
      if (options.json) {
        stdout.json({
          manifest_digest: result.manifestDigest,
          faults,
          objects_restored: objectsRestored,
          layers_imported: layersImported,
        });
        return;
      }
      stdout.line(`manifest ${result.manifestDigest}`);
      for (const fault of faults) stdout.line(`damaged  ${fault}`);
      if (faults.length === 0) return stdout.line("sound    nothing to repair");
      const restored = counted(objectsRestored, "object");
      stdout.line(
        `repaired ${restored} restored, ${counted(layersImported.length, "layer")} imported`,
      );
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci repair docker://registry.example/team/image:v1",
      "cfs --repo r oci repair --from /backup/repo myimage",
      "cfs --repo r oci repair --from oci:layout:v1 myimage",
    ],
    complete: { "0": "tag-or-manifest", "--from": "source", "--platform": "platform" },
  });
}
