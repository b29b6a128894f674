import { gcRoot, pruneContentIndexes, staleReferrers } from "../../lib/oci/mod.ts";
import type { GcResult } from "../../lib/repository/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { collect, newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { pruneOldJournals } from "../ostree_journals.ts";

function showText(context: Context, result: GcResult): void {
  const { stdout } = context;
  if (result.dryRun) stdout.line("Dry run (no files deleted):");
  stdout.line(`Objects: ${result.objectsRemoved} removed (${result.objectsBytes} bytes)`);
  // The reference's dry run counts only the links that were dangling before; ours counts all, and
  // says so on standard error to keep the output the same.
  if (result.imagesPruned + result.streamsPruned === 0) return;
  const links = `${result.imagesPruned} images, ${result.streamsPruned} streams`;
  if (result.dryRun) context.warn(`links that would be pruned: ${links}`);
  else stdout.line(`Pruned symlinks: ${links}`);
}

/** Declares `gc`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("gc")
    .description("Perform garbage collection: remove everything that no reference leads to")
    .addOption(
      new Option(
        "-r, --root <ROOT>",
        "Additional roots to keep (image or stream names, or digests)",
      )
        .argParser(collect),
    )
    .option("-n, --dry-run", "Preview what would be deleted without actually deleting")
    .option("--json", "Output the result as JSON")
    .action(async (options) => {
      using repository = openRepository(context);
      const roots = (options.root as string[] | undefined) ?? [];
      const result = await context.working((progress) =>
        repository.gcInTurns({
          dryRun: options.dryRun ?? false,
          roots: roots.map((root) => gcRoot(repository, root)),
          staleRefs: () => staleReferrers(repository),
          progress,
        })
      );
      // What is known of layers that are gone; it is only to find things faster.
      if (!result.dryRun) pruneContentIndexes(repository);
      if (!result.dryRun) await pruneOldJournals(repository);
      for (const warning of result.warnings) context.warn(warning);
      if (result.temporariesRemoved > 0) {
        const verb = result.dryRun ? "would be removed" : "removed";
        context.warn(`${result.temporariesRemoved} left-over temporary files ${verb}`);
      }
      if (options.json) {
        context.stdout.json({
          dry_run: result.dryRun,
          objects_removed: result.objectsRemoved,
          objects_bytes: result.objectsBytes,
          images_pruned: result.imagesPruned,
          streams_pruned: result.streamsPruned,
          temporaries_removed: result.temporariesRemoved,
          warnings: result.warnings,
        });
      } else showText(context, result);
    });
  return withNotes(declared, {
    examples: ["cfs gc -n", "cfs gc -r myimage -r refs/mylayer -r sha256:2cec…53f8"],
    complete: { "--root": "root" },
  });
}
