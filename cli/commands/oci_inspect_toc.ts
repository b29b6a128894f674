import { inspectBlobToc, type InspectedToc, inspectImageTocs } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { registryAccess, withRegistryOptions } from "../registry_options.ts";
import { platformOption } from "../platform_option.ts";

const DESCRIPTION = `Show the tables of contents of zstd:chunked layers

SOURCE is an image reference as for oci pull, of which only these tables are fetched, or the path of
a layer's blob, whose table nothing vouches for. One line an entry: type, mode, owner, size, name.`;

const REFERENCE = /^[a-z-]+:/;

/** Names come from others: what is not plain text is escaped. */
function shown(text: unknown): string {
  return JSON.stringify(typeof text === "string" ? text : "")
    .replace(
      /[\x7f-\x9f\u2028-\u202e\ufff9-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
}

function line(entry: Record<string, unknown>): string {
  const number = (value: unknown) => typeof value === "number" ? value : 0;
  const mode = number(entry.mode).toString(8).padStart(4, "0");
  const owner = `${number(entry.uid)}:${number(entry.gid)}`;
  const size = entry.type === "chunk" ? entry.chunkSize : entry.size;
  const link = entry.linkName === undefined ? "" : ` -> ${shown(entry.linkName)}`;
  const type = typeof entry.type === "string" ? entry.type.replace(/[^a-z]/g, "?") : "?";
  return `${type.padEnd(8)} ${mode} ${owner} ${number(size)} ${shown(entry.name)}${link}`;
}

function showText({ stdout }: Context, found: InspectedToc): void {
  if (found.layer !== undefined) stdout.line(`layer ${found.layer}`);
  if ("reason" in found) {
    stdout.line(`none: ${found.reason}`);
    return;
  }
  const { entries } = found.toc;
  if (!Array.isArray(entries)) return;
  for (const entry of entries) {
    if (typeof entry === "object" && entry !== null) stdout.line(line(entry));
  }
}

function asJson(found: InspectedToc): Record<string, unknown> {
  const digest = found.layer ?? null;
  if ("reason" in found) return { digest, toc: null, reason: found.reason };
  return { digest, toc: found.toc, verified: found.verified };
}

/** Declares `oci inspect-toc`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = withRegistryOptions(
    newCommand("inspect-toc")
      .description(DESCRIPTION)
      .argument("<SOURCE>", "Image reference, or path of a blob")
      .addOption(platformOption())
      .option("--json", "Output the tables as they are"),
  ).action(async (source, options) => {
    const tocs = REFERENCE.test(source)
      ? inspectImageTocs(source, {
        ...await registryAccess(context, options),
        platform: options.platform,
      })
      : [inspectBlobToc(source)];
    const layers: Record<string, unknown>[] = [];
    for await (const found of tocs) {
      if (options.json) layers.push(asJson(found));
      else showText(context, found);
    }
    if (options.json) context.stdout.json({ layers });
  });
  return withNotes(declared, {
    examples: [
      "cfs oci inspect-toc docker://registry.example.org/os:latest",
      "cfs oci inspect-toc --json layout/blobs/sha256/ce1a…b190",
    ],
    complete: { "0": "source", "--platform": "platform" },
  });
}
