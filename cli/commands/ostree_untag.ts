import { NotFoundError, withContext } from "../../lib/base/mod.ts";
import { untagCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `ostree untag`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("untag")
    .description(
      "Remove a named ostree reference; the commit goes with the next garbage collection",
    )
    .argument("<NAME>", "Tag name to remove")
    .action((name) => {
      using repository = openRepository(context);
      repository.assertWritable();
      if (untagCommit(repository, name)) return;
      const message = "No such file or directory (os error 2)";
      const cause = new NotFoundError("ostree tag", name, { message });
      throw withContext(`Failed to remove tag ${name}`, cause);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree untag stable"],
    complete: { "0": "ostree-tag" },
  });
}
