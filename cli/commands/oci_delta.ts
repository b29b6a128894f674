import {
  createDelta,
  type DeltaCreateResult,
  type DeltaInfo,
  readDeltaInfo,
} from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { Argument, type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { jobsOption } from "../jobs.ts";
import { platformOption } from "../platform_option.ts";
import { openRepository } from "../open_repository.ts";
import { registryAccess, withRegistryOptions } from "../registry_options.ts";
import { formatSize } from "../size.ts";

const DESCRIPTION = `Make deltas between images, and look into them

create OLD NEW OUT writes what NEW has and OLD has not, as operations on OLD's files; oci pull
applies it where OLD is. OLD and NEW are image references such as oci:PATH[:TAG], or tags or digests
of the repository; OUT is oci:PATH[:TAG], oci-archive:PATH[:TAG] or docker://HOST/NAME[:TAG]. What is
made depends on the images and NEW's signatures only, and is applied once before it is published. Those
signatures go along, for appliers that ask for some.

info DELTA tells what a delta starts from and makes, and counts its operations.`;

const COMPAT = ["any", "cfsctl", "oci-delta"] as const;
const ARTIFACT_TYPES = {
  containers: "application/vnd.io.github.containers.oci-delta.v1",
  redhat: "application/vnd.redhat.oci-delta.v1",
} as const;

function signed(count: number): string {
  return `signed   ${count} ${count === 1 ? "signature" : "signatures"}, not verified`;
}

function showCreated({ stdout }: Context, result: DeltaCreateResult): void {
  stdout.line(`delta    ${result.manifestDigest}`);
  stdout.line(`source   ${result.source}`);
  stdout.line(`target   ${result.target}`);
  stdout.line(`layers   ${result.layers.length} in the delta, ${result.reused} reused`);
  stdout.line(
    `size     ${formatSize(result.size)} in the place of ${formatSize(result.layerSize)}`,
  );
  if (result.signatures > 0) stdout.line(signed(result.signatures));
}

function createdJson(result: DeltaCreateResult): unknown {
  return {
    delta_digest: result.manifestDigest,
    source: result.source,
    target: result.target,
    reused: result.reused,
    signatures: result.signatures,
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

function showInfo({ stdout }: Context, info: DeltaInfo): void {
  stdout.line(`delta    ${info.digest}`);
  stdout.line(`type     ${info.artifactType}`);
  stdout.line(`from     config ${info.sourceConfig}`);
  stdout.line(`target   ${info.target}`);
  stdout.line(`config   ${info.targetConfig}`);
  stdout.line(`layers   ${info.layers.length} in the delta, ${info.reused.length} reused`);
  stdout.line(`size     ${formatSize(info.size)} in the place of ${formatSize(info.layerSize)}`);
  if (info.signatures > 0) stdout.line(signed(info.signatures));
  for (const { diffId, blob, layer, tarDiff } of info.layers) {
    stdout.line("");
    stdout.line(`layer    ${diffId}`);
    stdout.line(`  blob   ${formatSize(blob.size)} for ${formatSize(layer.size)}`);
    if (tarDiff === undefined) {
      stdout.line(`  type   ${blob.mediaType}`);
      continue;
    }
    const { operations, sources, outputSize } = tarDiff;
    stdout.line(`  makes  ${formatSize(outputSize)} from ${sources} files`);
    for (const kind of ["copy", "add", "data"] as const) {
      const { count, bytes } = operations[kind];
      stdout.line(`  ${kind.padEnd(6)} ${formatSize(bytes)} in ${count} operations`);
    }
  }
}

function infoJson(info: DeltaInfo): unknown {
  return {
    delta_digest: info.digest,
    artifact_type: info.artifactType,
    source_config: info.sourceConfig,
    target: info.target,
    target_config: info.targetConfig,
    reused: info.reused,
    signatures: info.signatures,
    size: info.size,
    layer_size: info.layerSize,
    layers: info.layers.map(({ diffId, blob, layer, tarDiff }) => ({
      diff_id: diffId,
      layer: layer.digest,
      layer_size: layer.size,
      blob: blob.digest,
      media_type: blob.mediaType,
      size: blob.size,
      output_size: tarDiff?.outputSize ?? null,
      sources: tarDiff?.sources ?? null,
      operations: tarDiff?.operations ?? null,
    })),
  };
}

/** Declares `oci delta`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = withRegistryOptions(
    newCommand("delta")
      .description(DESCRIPTION)
      .addArgument(new Argument("<ACTION>", "What to do").choices(["create", "info"] as const))
      .argument("<REFERENCE...>", "create: OLD, NEW and OUT; info: DELTA")
      .addOption(platformOption())
      .addOption(
        new Option("--target-compat <APPLIER>", "Programs that must be able to apply it")
          .choices(COMPAT).default("any" as const),
      )
      .addOption(
        new Option("--artifact-type <TYPE>", "Type of the artifact")
          .choices(["containers", "redhat"] as const).default("containers" as const),
      )
      .option("--no-signatures", "Leave out the signatures of NEW")
      .addOption(jobsOption())
      .option("--json", "Output the result as JSON"),
  )
    .action(async (action, references, options) => {
      const [first, fresh, destination] = references;
      const access = await registryAccess(context, options);
      const platform = options.platform === undefined ? {} : { platform: options.platform };
      if (action === "info") {
        if (references.length !== 1) throw new UsageError("info needs one reference: DELTA");
        const info = await readDeltaInfo(first!, { ...access, ...platform });
        if (options.json) context.stdout.json(infoJson(info));
        else showInfo(context, info);
        return;
      }
      if (references.length !== 3) throw new UsageError("create needs OLD, NEW and OUT");
      using opened = new DisposableStack();
      let repository: Repository | undefined;
      const result = await context.working((progress) =>
        createDelta({ old: first!, fresh: fresh! }, {
          destination: destination!,
          openRepository: () => repository ??= opened.use(openRepository(context)),
          compat: options.targetCompat,
          artifactType: ARTIFACT_TYPES[options.artifactType],
          signatures: options.signatures,
          access,
          ...platform,
          ...(options.jobs === undefined ? {} : { jobs: options.jobs }),
          progress,
        })
      );
      if (options.json) context.stdout.json(createdJson(result));
      else showCreated(context, result);
    });
  return withNotes(declared, {
    examples: [
      "cfs oci delta create oci:layout:41 oci:layout:42 oci-archive:41to42.tar",
      "cfs --repo r oci delta create os:41 docker://registry.example/os:42 oci:deltas:41to42",
      "cfs oci delta info oci-archive:41to42.tar",
    ],
    complete: { "1": "tag-or-source" },
  });
}
