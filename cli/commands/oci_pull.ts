import { InvalidNameError, withContext } from "../../lib/base/mod.ts";
import type { PublicKey } from "../../lib/signature/mod.ts";
import { planPull, policyAdmission, pullImage, type PullResult } from "../../lib/oci/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { jobsOption } from "../jobs.ts";
import { addPullOptions, type PullFlags, refusePullOptions } from "../not_yet.ts";
import { platformOption } from "../platform_option.ts";
import { openRepository } from "../open_repository.ts";
import { planJson, showPlan } from "../plan_output.ts";
import { registryAccess, withRegistryOptions } from "../registry_options.ts";
import { formatSize } from "../size.ts";
import {
  bundleIdentityOption,
  identityOption,
  indexSignaturesOption,
  insecurePolicyOption,
  lookasideOption,
  policyOption,
  registriesDOption,
  trustOptions,
} from "../trust_options.ts";

const DESCRIPTION = `Pull an OCI image into the repository

IMAGE is docker://[HOST/]NAME[:TAG][@DIGEST], oci:PATH[:TAG], oci-archive:PATH[:TAG], dir:PATH,
docker-archive:PATH[:NAME] or docker-daemon:NAME. Every digest is checked before anything gets a
name. The policy (policy.json) must accept the image; where there is none, only images on this
machine are. A download that was interrupted goes on where it stopped. Prints the digests of
manifest and config and the verity of the stored manifest.`;

/** Nobody would look for a new image below the name of the way to it. */
const DELTA_NAME = "the tag is the delta's reference; NAME or --name-from-target gives another";

function show({ stdout }: Context, result: PullResult): void {
  const { stats } = result;
  stdout.line(`manifest ${result.manifestDigest}`);
  if (result.sourceDigest !== undefined) stdout.line(`source   ${result.sourceDigest}`);
  stdout.line(`config   ${result.configDigest}`);
  stdout.line(`verity   ${result.manifestStream}`);
  stdout.line(`tagged   ${result.tag}`);
  const counts = `${stats.objectsNew} new + ${stats.objectsPresent} already present objects`;
  const sizes = `${formatSize(stats.bytesStored)} stored, ${
    formatSize(stats.bytesInlined)
  } inlined`;
  stdout.line(`objects  ${counts}; ${sizes}`);
  if (result.delta !== undefined) stdout.line(`delta    ${result.delta}`);
  const parts = result.layers.flatMap(({ partial }) => partial.used ? [partial] : []);
  if (parts.length === 0) return;
  const sum = (key: "fetchedBytes" | "reusedBytes") =>
    formatSize(parts.reduce((total, part) => total + part[key], 0));
  const layers = `${parts.length} ${parts.length === 1 ? "layer" : "layers"}`;
  stdout.line(`parts    ${layers}: ${sum("fetchedBytes")} fetched, ${sum("reusedBytes")} reused`);
}

const MAX_KEY_FILE = 1 << 20;

async function readKey(path: string): Promise<PublicKey> {
  const { PublicKey } = await import("../../lib/signature/mod.ts");
  try {
    if (Deno.statSync(path).size > MAX_KEY_FILE) throw new InvalidNameError("File is no key");
    return PublicKey.fromPem(Deno.readTextFileSync(path));
  } catch (cause) {
    throw withContext(`Reading public key ${path}`, cause);
  }
}

/** Declares `oci pull`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = withRegistryOptions(
    newCommand("pull")
      .description(DESCRIPTION)
      .argument("<IMAGE>", "Source image reference")
      .argument(
        "[NAME]",
        "Tag name to assign to the pulled image (defaults to the image reference)",
      )
      .option(
        "--name-from-target",
        "Tag the image by the name that its own manifest says, a delta's by that of its target",
      )
      .addOption(platformOption())
      .addOption(jobsOption())
      .option(
        "--repair",
        "Compare what is there already with the source, and replace what is damaged",
      )
      .addOption(
        new Option("--delta <MODE>", "Whether to fetch a delta to an image that is there")
          .choices(["auto", "off", "require"] as const).default("auto" as const),
      )
      .option(
        "--verify-key <PEM>",
        "File with the public key that must have signed the image, in the delta that IMAGE is",
      )
      .addOption(
        new Option(
          "--partial <MODE>",
          "Whether to fetch only the missing parts of zstd:chunked layers",
        ).choices(["auto", "off", "never", "require"] as const).default("auto" as const),
      )
      .option("--repair-padding", "Put back the zeros that old zstd:chunked encoders dropped")
      .addOption(policyOption())
      .addOption(insecurePolicyOption())
      .addOption(registriesDOption())
      .addOption(lookasideOption())
      .addOption(identityOption())
      .addOption(bundleIdentityOption())
      .addOption(indexSignaturesOption())
      .option(
        "--require-seal",
        "Refuse an image without the composefs digest that it claims to have",
      )
      .option("-n, --dry-run", "Only tell what would have to be fetched, as oci plan does")
      .option("--json", "Output the result as JSON"),
  )
    .action(async (reference, name, options) => {
      refusePullOptions(options as PullFlags);
      if (name !== undefined && options.nameFromTarget) {
        throw new UsageError("the argument '[NAME]' cannot be used with '--name-from-target'");
      }
      using repository = openRepository(context);
      const pull = {
        ...(name === undefined ? {} : { name }),
        nameFromTarget: options.nameFromTarget ?? false,
        ...(options.platform === undefined ? {} : { platform: options.platform }),
        ...(options.jobs === undefined ? {} : { jobs: options.jobs }),
        repair: options.repair ?? false,
        delta: options.delta,
        partial: options.partial === "off" ? "never" as const : options.partial,
        repairPadding: options.repairPadding ?? false,
        requireSeal: options.requireSeal ?? false,
        ...(options.verifyKey === undefined ? {} : { verifyKey: await readKey(options.verifyKey) }),
        registry: await registryAccess(context, options),
      };
      if (options.dryRun) {
        const plan = await context.working((progress) =>
          planPull(repository, reference, { ...pull, progress })
        );
        return options.json ? context.stdout.json(planJson(plan)) : showPlan(context, plan);
      }
      const admit = await policyAdmission(reference, trustOptions(options));
      const result = await context.working((progress) =>
        pullImage(repository, reference, { ...pull, admit, progress })
      );
      if (result.fromDelta && name === undefined && !options.nameFromTarget) {
        context.note(DELTA_NAME);
      }
      if (!options.json) return show(context, result);
      const { stats } = result;
      context.stdout.json({
        manifest_digest: result.manifestDigest,
        source_digest: result.sourceDigest ?? null,
        config_digest: result.configDigest,
        manifest_verity: result.manifestStream,
        tag: result.tag,
        composefs_erofs: result.image ?? null,
        stats: {
          layers_present: stats.layersPresent,
          objects_new: stats.objectsNew,
          objects_present: stats.objectsPresent,
          bytes_stored: stats.bytesStored,
          bytes_inlined: stats.bytesInlined,
        },
        delta: result.delta ?? null,
        layers: result.layers,
      });
    });
  addPullOptions(declared);
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci pull oci:layout:latest myimage",
      "cfs --repo r oci pull oci-archive:image.tar myimage",
      "cfs oci pull --creds user:secret docker://registry.example.org/os:41 myimage",
      "cfs oci pull --platform linux/arm64 oci:layout myimage",
    ],
    complete: { "0": "source", "--platform": "platform", "--verify-key": "file" },
  });
}
