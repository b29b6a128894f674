import { checkImages, type OciFsckReport } from "../../lib/oci/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { FailedError } from "../errors.ts";
import { EXIT } from "../exit_codes.ts";
import { showFsck, warnFsck } from "../fsck_text.ts";
import { openRepository } from "../open_repository.ts";
import { printable } from "../printable.ts";

const DESCRIPTION = `Check integrity of OCI images in the repository

Verifies manifest and config content digests, layer references and contents, seal consistency, and
everything that fsck checks. Damaged objects are written down in the repository, so that the next
pull of an image that uses them heals them.`;

function show({ stdout }: Context, report: OciFsckReport): void {
  const { images_checked: checked, images_corrupted: corrupted, errors } = report;
  stdout.line(`oci images: ${checked - corrupted}/${checked} ok`);
  if (errors.length > 0) stdout.line(`oci errors: ${errors.length}`);
  for (const error of errors) stdout.line(printable(`  - ${error}`));
}

/** Declares `oci fsck`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("fsck")
    .description(DESCRIPTION)
    .argument("[IMAGE]", "Check only the image with this tag instead of all tagged images")
    .option("--json", "Output results as JSON (always exits 0 unless the check itself fails)")
    .option("--metadata-only", "Skip the contents of objects and layers")
    .option("--deep", "Also build every image again and compare")
    .action(async (name, options) => {
      using repository = openRepository(context);
      const metadataOnly = options.metadataOnly ?? false;
      const report = await context.working((progress) =>
        checkImages(repository, {
          ...(name === undefined ? {} : { name }),
          metadataOnly,
          layers: !metadataOnly,
          deep: options.deep ?? false,
          progress,
        })
      );
      if (options.json) {
        context.stdout.json(report);
        return;
      }
      // The verdict stands even if nobody reads the report.
      if (!report.ok) context.exitCode = EXIT.failed;
      showFsck(context, report.repo);
      show(context, report);
      warnFsck(context, report.repo);
      if (report.ok) return;
      throw new FailedError("OCI integrity check failed", { detail: "images-damaged" });
    });
  return withNotes(declared, {
    examples: ["cfs --repo r oci fsck", "cfs oci fsck myimage --json"],
    complete: { "0": "tag" },
  });
}
