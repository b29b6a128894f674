import { findCommit, tagCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `ostree tag`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("tag")
    .description("Tag an ostree commit with a name; an existing tag moves")
    .argument("<SOURCE>", "Tag, commit ID, or the beginning of one")
    .argument("<NAME>", "Tag name to assign")
    .action((source, name) => {
      using repository = openRepository(context);
      repository.assertWritable();
      tagCommit(repository, findCommit(repository, source), name);
      repository.sync();
      context.stdout.line(`Tagged ${source} as ${name}`);
    });
  return withNotes(declared, {
    examples: ["cfs --repo r ostree tag 927c5470 stable"],
    complete: { "0": "ostree-commit", "1": "ostree-tag" },
  });
}
