import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { FailedError } from "../errors.ts";
import { EXIT } from "../exit_codes.ts";
import { showFsck, warnFsck } from "../fsck_text.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Check repository integrity

Verifies fsverity digests of all objects, validates stream and image symlinks, and checks
splitstream contents. Exits with a non-zero status if corruption is found. Damaged objects are
written down in the repository, so that the next pull of an image that uses them heals them.`;

/** Declares `fsck`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("fsck")
    .description(DESCRIPTION)
    .option("--json", "Output results as JSON (always exits 0 unless the check itself fails)")
    .option("--metadata-only", "Skip the objects' contents; check only metadata and links")
    .action(async (options) => {
      using repository = openRepository(context);
      const report = await context.working((progress) =>
        repository.fsck({
          metadataOnly: options.metadataOnly ?? false,
          progress,
        })
      );
      if (options.json) {
        context.stdout.json(report);
        return;
      }
      // The verdict stands even if nobody reads the report.
      if (!report.ok) context.exitCode = EXIT.failed;
      showFsck(context, report);
      warnFsck(context, report);
      if (!report.ok) throw new FailedError("repository integrity check failed");
    });
  return withNotes(declared, {
    examples: ["cfs --repo r fsck", "cfs fsck --metadata-only --json"],
  });
}
