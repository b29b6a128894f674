import { applyLocalDelta } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { showPull } from "../ostree_pull_output.ts";
import {
  chosenPolicy,
  GPG_KEYRING_OPTION,
  SIGN_KEY_OPTION,
  verifyDeltaHook,
} from "../ostree_verify.ts";

const DESCRIPTION = `Apply a static delta from local files

DELTA_PATH is the file of a superblock, a delta in a single file, or a delta's directory. The commit
that it starts from must be stored. Every object is checked against its checksum, the commit against
the one the delta names, before anything gets a name.`;

/** Declares `ostree apply-delta`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("apply-delta")
    .description(DESCRIPTION)
    .argument("<DELTA_PATH>", "Superblock or directory of the delta")
    .option("--reference <NAME>", "Tag to make")
    .addOption(GPG_KEYRING_OPTION)
    .addOption(SIGN_KEY_OPTION)
    .option("--json", "Output the result as JSON")
    .action(async (path, options) => {
      const hook = verifyDeltaHook(chosenPolicy(options));
      using repository = openRepository(context);
      const { reference } = options;
      const result = await context.working((progress) =>
        applyLocalDelta(repository, path, {
          ...(reference === undefined ? {} : { tag: reference }),
          ...hook,
          progress,
        })
      );
      showPull(context, result, { json: options.json ?? false, applied: true });
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r ostree apply-delta update.delta",
      "cfs --repo r ostree apply-delta --reference os/stable deltas/B8/Id9h…",
    ],
    complete: { "0": "file", "--gpg-keyring": "file" },
  });
}
