import type { Digest } from "../../lib/base/mod.ts";
import { formatEntry, formatHardlink } from "../../lib/dumpfile/mod.ts";
import { layerEntries, layerInfo, openLayer } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import type { TarEntry } from "../../lib/tar/mod.ts";
import { Directory, Leaf } from "../../lib/tree/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { FailedError } from "../errors.ts";
import { parseDigestArgument } from "../oci_names.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Inspect a stored layer

By default, outputs the raw tar stream to stdout. Use --dumpfile for composefs dumpfile format, or
--json for metadata.`;

function entryLine({ path, stat, item }: TarEntry): string {
  if (item.type === "hardlink") return formatHardlink(path, item.target);
  return formatEntry(path, item.type === "directory" ? new Directory(stat) : new Leaf(stat, item));
}

function writeTar(context: Context, repository: Repository, diffId: Digest): void {
  const stream = openLayer(repository, diffId);
  if (context.stdout.isTerminal) {
    throw new FailedError(
      "Refusing to write tar data to terminal. " +
        "Redirect to a file, pipe to tar, or use --json for metadata.",
    );
  }
  for (const piece of repository.streamContent(stream)) context.stdout.bytes(piece);
}

/** Declares `oci layer`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("layer")
    .description(DESCRIPTION)
    .argument("<LAYER>", "Layer diff_id, e.g. sha256:a1b2c3…", parsed(parseDigestArgument))
    .addOption(
      new Option("--dumpfile", "Output as composefs dumpfile format (one entry per line)")
        .conflicts("json"),
    )
    .option("--json", "Output layer metadata as JSON")
    .action((diffId, options) => {
      using repository = openRepository(context);
      if (options.json) context.stdout.json(layerInfo(repository, diffId));
      else if (options.dumpfile) {
        openLayer(repository, diffId);
        for (const entry of layerEntries(repository, diffId)) {
          context.stdout.write(entryLine(entry));
        }
      } else writeTar(context, repository, diffId);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r oci layer sha256:d389…f96b | tar -tv",
      "cfs --repo r oci layer --json sha256:d389…f96b",
    ],
    complete: { "0": "layer" },
  });
}
