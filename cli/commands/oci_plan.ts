import { planPull } from "../../lib/oci/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { platformOption } from "../platform_option.ts";
import { openRepository } from "../open_repository.ts";
import { planJson, showPlan } from "../plan_output.ts";
import { registryAccess, withRegistryOptions } from "../registry_options.ts";

const DESCRIPTION = `Tell what pulling an image would have to fetch

Reads only documents: what is missing is counted in blobs and bytes, with whole layers and with the
best delta that starts from an image of the repository.`;

/** Declares `oci plan`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = withRegistryOptions(
    newCommand("plan")
      .description(DESCRIPTION)
      .argument("<IMAGE>", "Source image reference")
      .addOption(platformOption())
      .addOption(
        new Option("--delta <MODE>", "Whether to look for a delta to an image that is there")
          .choices(["auto", "off", "require"] as const).default("auto" as const),
      )
      .option("--json", "Output the plan as JSON"),
  )
    .action(async (reference, options) => {
      using repository = openRepository(context);
      const registry = await registryAccess(context, options);
      const plan = await context.working((progress) =>
        planPull(repository, reference, {
          ...(options.platform === undefined ? {} : { platform: options.platform }),
          delta: options.delta,
          registry,
          progress,
        })
      );
      if (options.json) context.stdout.json(planJson(plan));
      else showPlan(context, plan);
    });
  return withNotes(declared, {
    examples: [
      "cfs oci plan docker://registry.example.org/os:latest",
      "cfs oci plan --json oci:layout",
    ],
    complete: { "0": "source", "--platform": "platform" },
  });
}
