import { InvalidNameError } from "../../lib/base/mod.ts";
import { findCommit, generateDelta, SecretKey, writeLocalDelta } from "../../lib/ostree/mod.ts";
import { Argument, type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { openRepository } from "../open_repository.ts";
import { formatSize } from "../size.ts";

const DESCRIPTION = `Make a static delta between stored ostree commits

generate FROM TO makes a delta that has what TO has and FROM has not; generate TO makes one that
needs nothing. ostree applies it with static-delta apply-offline, cfs with ostree apply-delta.`;

function parseMegabytes(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text) * 1024 * 1024;
  throw new InvalidNameError("expected a number of megabytes");
}

/** Declares `ostree delta`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("delta")
    .description(DESCRIPTION)
    .addArgument(new Argument("<ACTION>", "what to do").choices(["generate"]))
    .argument("<COMMIT...>", "FROM and TO, or TO alone: tags, commit IDs, or beginnings of them")
    .option("--output <DIR>", "required: directory for the delta; made when it is not there")
    .option("--inline", "put everything into the superblock, as a delta in a single file")
    .option("--no-compress", "do not compress; everything is in the superblock then")
    .addOption(
      new Option(
        "--min-fallback-size <MB>",
        "leave files of so many megabytes out, to be fetched as objects",
      ).argParser(parsed(parseMegabytes)),
    )
    .option("--sign-key <ed25519:KEY>", "secret key in base64, or a file with it, to sign with")
    .option("--json", "Output the result as JSON")
    .action((_action, commits: string[], options) => {
      if (commits.length > 2) throw new UsageError("Two commits at most: FROM and TO");
      if (options.output === undefined) throw new UsageError("--output <DIR> is needed");
      using repository = openRepository(context);
      const [to, from] = commits.map((name) => findCommit(repository, name)).reverse();
      const delta = generateDelta(repository, {
        to: to!,
        ...(from === undefined ? {} : { from }),
        inline: options.inline ?? false,
        ...(options.minFallbackSize === undefined
          ? {}
          : { minFallbackSize: options.minFallbackSize }),
        ...(options.signKey === undefined
          ? {}
          : { signKey: SecretKey.fromArgument(options.signKey) }),
        plain: !options.compress,
      });
      writeLocalDelta(options.output, delta);
      const bytes = delta.parts.reduce((sum, part) => sum + part.length, delta.superblock.length);
      const { stdout } = context;
      if (options.json) {
        const { objects, fallbacks, parts } = delta;
        const facts = { objects, fallbacks, parts: parts.length, bytes };
        return stdout.json({ from: from ?? null, to, ...facts });
      }
      if (from !== undefined) stdout.line(`from    ${from}`);
      stdout.line(`to      ${to}`);
      stdout.line(`objects ${delta.objects} in ${formatSize(bytes)}`);
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
