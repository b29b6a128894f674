import { type Algorithm, parseAlgorithm, withContext } from "../../lib/base/mod.ts";
import { initRepository, type InitResult } from "../../lib/repository/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { repositoryPath } from "../open_repository.ts";

const DESCRIPTION = `Initialize a new composefs repository with a metadata file.

Creates the repository directory (if it doesn't exist) and writes a meta.json recording the digest
algorithm. By default fs-verity is enabled on meta.json, signaling that all objects require verity.
Use --insecure to skip (e.g. on tmpfs).`;

interface Options {
  algorithm?: Algorithm;
  insecure?: true;
  resetMetadata?: true;
  ensure?: true;
  erofsVersion?: "0" | "1" | "2";
}

function initialize(context: Context, path: string, options: Options): InitResult {
  const version = options.erofsVersion === undefined
    ? context.globals.erofsVersion ?? 1
    : Number(options.erofsVersion) as 0 | 1 | 2;
  try {
    return initRepository(path, {
      ...(options.algorithm === undefined ? {} : { algorithm: options.algorithm }),
      insecure: options.insecure ?? context.globals.insecure ?? false,
      resetMetadata: options.resetMetadata ?? false,
      ensure: options.ensure ?? false,
      erofsVersion: version,
    });
  } catch (cause) {
    throw withContext(
      `${options.ensure ? "Ensuring" : "Initializing"} repository at ${path}`,
      cause,
    );
  }
}

function report(context: Context, path: string, result: InitResult): void {
  const { stdout } = context;
  const verity = result.secure ? "required" : "not required (insecure)";
  switch (result.outcome) {
    case "created":
      stdout.line(`Initialized composefs repository at ${path}`);
      stdout.line(`  algorithm: ${result.meta.algorithm.id}`);
      stdout.line(`  verity:    ${verity}`);
      break;
    case "existing":
      stdout.line(`Repository already initialized at ${path}`);
      break;
    case "preserved":
      stdout.line(
        `Repository already initialized at ${path} (existing configuration preserved)`,
      );
      break;
    case "upgraded":
      stdout.line(`Upgraded legacy repository at ${path}`);
  }
}

/** Declares `init`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("init")
    .description(DESCRIPTION)
    .argument("[PATH]", "Path to the repository directory; by default what --repo says")
    .addOption(
      new Option(
        "--algorithm <ALGORITHM>",
        "fs-verity algorithm, fsverity-<hash>-<lg_blocksize> (default: fsverity-sha512-12)",
      ).argParser(parsed(parseAlgorithm)),
    )
    .option("--insecure", "Do not enable fs-verity on meta.json (insecure repository)")
    .option(
      "--reset-metadata",
      "Remove streams/ and images/ but keep objects/, then write fresh meta.json",
    )
    .option("--ensure", "Accept an existing repository whatever its settings (but the algorithm)")
    .addOption(
      new Option("--erofs-version <EROFS_VERSION>", "EROFS format version of the images")
        .choices(["0", "1", "2"] as const),
    )
    .action((given, options: Options) => {
      const path = given ?? repositoryPath(context.globals);
      const result = initialize(context, path, options);
      const wantsSecure = !(options.insecure ?? context.globals.insecure ?? false);
      report(context, path, result);
      if (wantsSecure && !result.secure && result.outcome !== "created") {
        context.stdout.line("  verity:    not required (insecure)");
      }
    });
  return withNotes(declared, {
    examples: [
      "cfs init /var/lib/composefs",
      "cfs init --insecure --algorithm fsverity-sha256-12 /tmp/r",
      "cfs --user init --ensure",
    ],
    complete: { "0": "directory" },
  });
}
