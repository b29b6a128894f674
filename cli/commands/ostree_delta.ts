import { InvalidNameError } from "../../lib/base/mod.ts";
import { DeltaDirectory, findCommit, generateDelta, SecretKey } from "../../lib/ostree/mod.ts";
import { Argument, type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, requiredOption, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { jobsOption } from "../jobs.ts";
import { openRepository } from "../open_repository.ts";
import { formatSize } from "../size.ts";

const DESCRIPTION = `Make a static delta between stored ostree commits

generate FROM TO makes a delta that has what TO has and FROM has not; generate TO makes one that
needs nothing. Of files that FROM has in another version only what differs is taken. ostree applies
it with static-delta apply-offline, cfs with ostree apply-delta.`;

/** As ostree counts. */
const MEGABYTE = 1_000_000;

function parseMegabytes(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text) * MEGABYTE;
  throw new InvalidNameError("expected a number of megabytes");
}

function parseSize(text: string): number {
  const size = parseMegabytes(text);
  if (size > 0) return size;
  throw new InvalidNameError("expected a number of megabytes above 0");
}

/** Declares `ostree delta`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("delta")
    .description(DESCRIPTION)
    .addArgument(new Argument("<ACTION>", "What to do").choices(["generate"]))
    .argument("<COMMIT...>", "FROM and TO, or TO alone: tags, commit IDs, or beginnings of them")
    .addOption(
      requiredOption(
        new Option("--output <DIR>", "Directory for the delta; made when it is not there"),
      ),
    )
    .option("--inline", "Put everything into the superblock, as a delta in a single file")
    .option("--no-compress", "Do not compress; everything is in the superblock then")
    .addOption(
      new Option(
        "--min-fallback-size <MB>",
        "Leave files of so many megabytes out, to be fetched as objects (unless like one of FROM)",
      ).argParser(parsed(parseSize)),
    )
    .addOption(
      new Option(
        "--max-bsdiff-size <MB>",
        "Largest file that becomes a binary patch (defaults to 128)",
      ).argParser(parsed(parseMegabytes)),
    )
    .addOption(
      new Option("--disable-bsdiff", "Make no binary patches").conflicts("maxBsdiffSize"),
    )
    .addOption(
      new Option("--max-chunk-size <MB>", "Largest part of the delta (defaults to 32)")
        .argParser(parsed(parseSize)),
    )
    .addOption(jobsOption("Number of threads (defaults to the number of processors, up to 4)"))
    .option("--sign-key <ed25519:KEY>", "Secret key in base64, or a file with it, to sign with")
    .option("--json", "Output the result as JSON")
    .action(async (_action, commits: string[], options) => {
      if (commits.length > 2) throw new UsageError("Two commits at most: FROM and TO");
      using repository = openRepository(context);
      const [to, from] = commits.map((name) => findCommit(repository, name)).reverse();
      using directory = DeltaDirectory.make(options.output!);
      const maxPatchSize = options.disableBsdiff ? 0 : options.maxBsdiffSize;
      const { minFallbackSize, maxChunkSize, jobs } = options;
      const delta = await context.working((progress) =>
        generateDelta(repository, {
          to: to!,
          ...(from === undefined ? {} : { from }),
          inline: options.inline ?? false,
          ...(minFallbackSize === undefined ? {} : { minFallbackSize }),
          ...(maxChunkSize === undefined ? {} : { maxChunkSize }),
          ...(maxPatchSize === undefined ? {} : { maxPatchSize }),
          ...(jobs === undefined ? {} : { jobs }),
          ...(options.signKey === undefined
            ? {}
            : { signKey: SecretKey.fromArgument(options.signKey) }),
          plain: !options.compress,
          onPart: (bytes, index) => directory.part(bytes, index),
          progress,
        })
      );
      directory.finish(delta.superblock);
      const { stdout } = context;
      if (options.json) {
        const { objects, fallbacks, parts, patches, size } = delta;
        const facts = { objects, fallbacks, parts, patches, bytes: size };
        return stdout.json({ from: from ?? null, to, ...facts });
      }
      if (from !== undefined) stdout.line(`from    ${from}`);
      stdout.line(`to      ${to}`);
      stdout.line(`objects ${delta.objects} in ${formatSize(delta.size)}`);
      if (delta.fallbacks > 0) context.note(`${delta.fallbacks} objects are to be fetched besides`);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r ostree delta generate --output update os/1 os/2",
      "cfs --repo r ostree delta generate --inline --output whole os/2",
    ],
    complete: { "1": "ostree-commit", "--output": "directory" },
  });
}
