import { InvalidNameError } from "../../lib/base/mod.ts";
import { createDelta, type DeltaCreateResult, parsePlatform } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { Argument, type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { openRepository } from "../open_repository.ts";
import { formatSize } from "../size.ts";

const DESCRIPTION = `Make deltas between images, and look into them

create OLD NEW OUT writes what NEW has and OLD has not, as operations on OLD's files; oci pull
applies it where OLD is. OLD and NEW are image references such as oci:PATH[:TAG], or tags or digests
of the repository; OUT is oci:PATH[:TAG] or oci-archive:PATH[:TAG]. What is made depends on the
images only, and is applied once before it is published.`;

const COMPAT = ["any", "cfsctl", "oci-delta"] as const;
const ARTIFACT_TYPES = {
  containers: "application/vnd.io.github.containers.oci-delta.v1",
  redhat: "application/vnd.redhat.oci-delta.v1",
} as const;

function parseJobs(text: string): number {
  if (/^[1-9][0-9]{0,2}$/.test(text)) return Number(text);
  throw new InvalidNameError("expected a number from 1 to 999");
}

function showCreated({ stdout }: Context, result: DeltaCreateResult): void {
  stdout.line(`delta    ${result.manifestDigest}`);
  stdout.line(`source   ${result.source}`);
  stdout.line(`target   ${result.target}`);
  stdout.line(`layers   ${result.layers.length} in the delta, ${result.reused} reused`);
  stdout.line(
    `size     ${formatSize(result.size)} in the place of ${formatSize(result.layerSize)}`,
  );
}

function createdJson(result: DeltaCreateResult): unknown {
  return {
    delta_digest: result.manifestDigest,
    source: result.source,
    target: result.target,
    reused: result.reused,
    size: result.size,
    layer_size: result.layerSize,
    layers: result.layers.map((layer) => ({
      diff_id: layer.diffId,
      layer: layer.layer,
      layer_size: layer.layerSize,
      blob: layer.blob,
      media_type: layer.mediaType,
      size: layer.size,
    })),
  };
}

/** Declares `oci delta`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("delta")
    .description(DESCRIPTION)
    .addArgument(new Argument("<ACTION>", "what to do").choices(["create"] as const))
    .argument("<REFERENCE...>", "create: OLD, NEW and OUT")
    .addOption(
      new Option("--platform <PLATFORM>", "os/architecture[/variant] to choose from an index")
        .argParser(parsed(parsePlatform)),
    )
    .addOption(
      new Option("--target-compat <APPLIER>", "Programs that must be able to apply it")
        .choices(COMPAT).default("any" as const),
    )
    .addOption(
      new Option("--artifact-type <TYPE>", "Type of the artifact")
        .choices(["containers", "redhat"] as const).default("containers" as const),
    )
    .addOption(
      new Option("--jobs <JOBS>", "Number of threads (defaults to the number of processors)")
        .argParser(parsed(parseJobs)),
    )
    .option("--json", "Output the result as JSON")
    .action(async (_action, references, options) => {
      const [old, fresh, destination] = references;
      if (references.length !== 3) throw new UsageError("create needs OLD, NEW and OUT");
      using opened = new DisposableStack();
      let repository: Repository | undefined;
      const progress = opened.use(await context.progress());
      const result = await createDelta({ old: old!, fresh: fresh! }, {
        destination: destination!,
        openRepository: () => repository ??= opened.use(openRepository(context)),
        compat: options.targetCompat,
        artifactType: ARTIFACT_TYPES[options.artifactType],
        ...(options.platform === undefined ? {} : { platform: options.platform }),
        ...(options.jobs === undefined ? {} : { jobs: options.jobs }),
        progress: progress.sink,
      });
      progress[Symbol.dispose]();
      if (options.json) context.stdout.json(createdJson(result));
      else showCreated(context, result);
    });
  return withNotes(declared, {
    examples: [
      "cfs oci delta create oci:layout:41 oci:layout:42 oci-archive:41to42.tar",
      "cfs --repo r oci delta create os:41 docker://registry.example/os:42 oci:deltas:41to42",
    ],
    complete: { "1": "source" },
  });
}
