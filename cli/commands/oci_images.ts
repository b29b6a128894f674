import type { Digest } from "../../lib/base/mod.ts";
import { listReferrers, listTags, type OciImage, openManifest } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { reasonOf } from "../errors.ts";
import { openRepository } from "../open_repository.ts";
import { boxTable } from "../table.ts";

/** Digits of a shortened digest. */
const SHORT = 12;

interface Row {
  name: string;
  manifest: Digest;
  image: OciImage;
  referrers: number;
}

/** All images that can be opened; the others are named on standard error. */
function openAll(repository: Repository, context: Context): Row[] {
  const rows: Row[] = [];
  for (const { name, manifest } of listTags(repository, (text) => context.warn(text))) {
    try {
      const image = openManifest(repository, manifest);
      const referrers = listReferrers(repository, manifest).length;
      rows.push({ name, manifest, image, referrers });
    } catch (error) {
      context.warn(`image ${name} cannot be opened: ${reasonOf(error)}`);
    }
  }
  return rows;
}

function asJson({ name, manifest, image, referrers }: Row): Record<string, unknown> {
  const { config } = image;
  return {
    name,
    manifest_digest: manifest.toString(),
    is_container: config !== undefined,
    architecture: config?.architecture ?? "",
    os: config?.os ?? "",
    created: config?.created ?? null,
    layer_count: image.layerIds.length,
    referrer_count: referrers,
  };
}

function asCells({ name, manifest, image, referrers }: Row): string[] {
  const { config } = image;
  return [
    name,
    manifest.encoded.slice(0, SHORT),
    config === undefined ? "artifact" : config.architecture,
    String(image.layerIds.length),
    String(referrers),
  ];
}

/** Declares `oci images`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("images")
    .description("List all tagged OCI images in the repository")
    .option("--json", "Output as JSON")
    .action((options) => {
      using repository = openRepository(context);
      const rows = openAll(repository, context);
      if (options.json) context.stdout.json({ images: rows.map(asJson) });
      else if (rows.length === 0) context.stdout.line("No images found");
      else {
        const header = ["NAME", "DIGEST", "ARCH", "LAYERS", "REFS"];
        context.stdout.write(boxTable(header, rows.map(asCells)));
      }
    });
  return withNotes(declared, { examples: ["cfs --repo r oci images", "cfs oci images --json"] });
}
