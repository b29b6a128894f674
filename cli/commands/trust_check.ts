import { NotFoundError } from "../../lib/base/mod.ts";
import {
  isReference,
  reportBundle,
  reportRemote,
  reportStored,
  resolveReference,
  type TrustReport,
  type TrustReportOptions,
} from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import type { RegistryAccess } from "../../lib/transport/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { EXIT } from "../exit_codes.ts";
import { openRepository } from "../open_repository.ts";
import { registryAccess, withRegistryOptions } from "../registry_options.ts";
import {
  bundleIdentityOption,
  identityOption,
  indexSignaturesOption,
  lookasideOption,
  policyOption,
  registriesDOption,
  trustOptions,
} from "../trust_options.ts";
import { showTrust } from "../trust_output.ts";

const DESCRIPTION = `Tell what ties an image to its signatures and its files

IMAGE is a stored image, or a reference as for oci pull. The policy, the signatures, manifest,
config, layers, composefs images, seal and the kernel's command line are compared. Exits with 0 when
all is well, 1 when something does not fit, 3 when the policy does not accept the image. Options for
registries count for references, and with --online.`;

/** Whether an image is stored; one that is only a reference need not be. */
function isStored(repository: Repository, name: string): boolean {
  try {
    resolveReference(repository, name);
    return true;
  } catch (error) {
    if (error instanceof NotFoundError && isReference(name)) return false;
    throw error;
  }
}

function isRepositoryAsked({ globals }: Context): boolean {
  return globals.repo !== undefined || globals.user === true || globals.system === true;
}

/** What decides how an image is looked at, and how a registry is talked to if it comes to that. */
interface Ways {
  readonly how: TrustReportOptions;
  readonly registry: RegistryAccess;
  readonly online: boolean;
}

async function report(context: Context, name: string, ways: Ways): Promise<TrustReport> {
  const { how, registry, online } = ways;
  const remote = () => reportRemote(name, { ...how, registry });
  if (!isRepositoryAsked(context) && isReference(name)) return await remote();
  using repository = openRepository(context);
  if (!isStored(repository, name)) return await remote();
  return await reportStored(repository, name, online ? { ...how, registry } : how);
}

async function reportFile(
  context: Context,
  file: string,
  options: TrustReportOptions,
): Promise<TrustReport> {
  if (!isRepositoryAsked(context)) return await reportBundle(undefined, file, options);
  using repository = openRepository(context);
  return await reportBundle(repository, file, options);
}

/** Declares `trust check`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = withRegistryOptions(
    newCommand("check")
      .description(DESCRIPTION)
      .argument("[IMAGE]", "Stored image, or image reference")
      .addOption(policyOption())
      .addOption(registriesDOption())
      .addOption(identityOption())
      .addOption(lookasideOption())
      .addOption(bundleIdentityOption())
      .addOption(indexSignaturesOption())
      .option("--bundle <FILE>", "Check by a file that trust export wrote, and ask nobody else")
      .option("--deep", "Hash the content of all layers and objects")
      .option("--online", "Ask the registry for signatures that are not stored here")
      .option("--json", "Output the report as JSON"),
  )
    .action(async (name, options) => {
      const { bundle } = options;
      if ((name === undefined) === (bundle === undefined)) {
        throw new UsageError("one of IMAGE and --bundle is needed");
      }
      const how = { ...trustOptions(options), deep: options.deep ?? false };
      const registry = await registryAccess(context, options);
      const result = bundle === undefined
        ? await report(context, name ?? "", { how, registry, online: options.online ?? false })
        : await reportFile(context, bundle, how);
      if (options.json) context.stdout.json(result);
      else showTrust(context.stdout, result);
      if (result.verdict === "untrusted") context.exitCode = EXIT.failed;
      if (result.verdict === "refused") context.exitCode = EXIT.refused;
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r trust check myimage",
      "cfs --repo r trust check --identity registry.example.org/os:41 --deep myimage --json",
      "cfs --repo r trust check --bundle os.trust.tar --identity registry.example.org/os:41",
      "cfs trust check --policy policy.json docker://registry.example.org/os:41",
    ],
    complete: {
      "0": "tag",
      "--policy": "file",
      "--registries.d": "directory",
      "--lookaside": "directory",
      "--bundle": "file",
    },
  });
}
