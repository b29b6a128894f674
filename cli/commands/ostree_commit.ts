import { FormatError, InvalidNameError } from "../../lib/base/mod.ts";
import { type Checksum, commitImage, findCommit } from "../../lib/ostree/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { collect, newCommand, parsed, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Create an ostree commit from a composefs image in the repository

Every file of the image is read for its checksum; contents stay the objects they are. The time of
the commit is now, or $SOURCE_DATE_EPOCH, or --timestamp.`;

function parseTimestamp(text: string): bigint {
  if (/^[0-9]{1,18}$/.test(text)) return BigInt(text);
  const time = Date.parse(text);
  if (Number.isNaN(time) || time < 0) {
    throw new InvalidNameError("expected seconds since 1970 or a date");
  }
  return BigInt(Math.floor(time / 1000));
}

function now(): bigint {
  const epoch = Deno.env.get("SOURCE_DATE_EPOCH");
  if (epoch !== undefined && epoch !== "") return parseTimestamp(epoch);
  return BigInt(Math.floor(Date.now() / 1000));
}

function keyValue(text: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals <= 0) throw new FormatError("option", `'${text}' is not KEY=VALUE`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

/** Declares `ostree commit`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("commit")
    .description(DESCRIPTION)
    .argument("<IMAGE>", "Composefs image ID or refs/ name")
    .option("--reference <REFERENCE>", "Ostree ref name to tag the commit with")
    .option("--subject <SUBJECT>", "One-line commit subject", "")
    .option("--body <BODY>", "Rest of the commit message", "")
    .option("--parent <COMMIT>", "Parent commit: tag, ID, or a full ID that is not stored")
    .addOption(
      new Option("--timestamp <TIMESTAMP>", "Seconds since 1970, or a date")
        .argParser(parsed(parseTimestamp)),
    )
    .addOption(
      new Option("--add-metadata-string <KEY=VALUE>", "Add a key to the metadata, repeatable")
        .argParser(collect),
    )
    .action((image, options) => {
      using repository = openRepository(context);
      const { reference, parent } = options;
      const added = (options.addMetadataString as string[] | undefined) ?? [];
      const full = parent !== undefined && /^[0-9a-f]{64}$/.test(parent);
      const made = commitImage(repository, repository.findImage(image), {
        subject: options.subject,
        body: options.body,
        timestamp: options.timestamp ?? now(),
        metadata: added.map(keyValue),
        ...(reference === undefined ? {} : { reference }),
        ...(parent === undefined
          ? {}
          : { parent: full ? parent as Checksum : findCommit(repository, parent) }),
      });
      context.stdout.line(`commit  ${made.commit}`);
      context.stdout.line(`verity  ${made.stream}`);
      if (reference !== undefined) context.stdout.line(`tagged  ${reference}`);
      else context.note("not tagged; gc will remove it");
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r ostree commit refs/myimage --reference mine/stable --subject 'New release'",
    ],
    complete: { "0": "image", "--parent": "ostree-commit", "--reference": "ostree-tag" },
  });
}
