import { LocalRepository, pullCommit } from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { jobsOption } from "../jobs.ts";
import { openRepository } from "../open_repository.ts";
import { showPull } from "../ostree_pull_output.ts";
import {
  chosenPolicy,
  GPG_KEYRING_OPTION,
  SIGN_KEY_OPTION,
  SIGN_KEYFILE_OPTION,
  verifyHooks,
} from "../ostree_verify.ts";

const DESCRIPTION = `Pull an ostree commit from a local repository

Every object is checked against its checksum before anything gets a name; files are not copied where
the file systems can share their blocks. A ref becomes the commit's tag as well.`;

/** Declares `ostree pull-local`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("pull-local")
    .description(DESCRIPTION)
    .argument("<OSTREE_REPO_PATH>", "Repository of any mode")
    .argument(
      "<OSTREE_REF>",
      "Ref, REMOTE:REF, commit ID or the beginning of one; ^ for the parent",
    )
    .option("--base-name <BASE_NAME>", "A tag whose objects need not be fetched again")
    .option("--ref-as <NAME>", "Tag to make instead of the ref's name")
    .option("--no-tag", "Make no tag")
    .addOption(GPG_KEYRING_OPTION)
    .addOption(SIGN_KEY_OPTION)
    .addOption(SIGN_KEYFILE_OPTION)
    .option("--timestamp-check", "Refuse a commit older than the one the tag leads to")
    .addOption(jobsOption())
    .option("--json", "Output the result as JSON")
    .action(async (path, reference, options) => {
      const { verify } = verifyHooks(chosenPolicy(options));
      using repository = openRepository(context);
      using source = LocalRepository.open(path);
      const { baseName, refAs, jobs } = options;
      const tag = options.tag ? refAs : null;
      const result = await context.working((progress) =>
        pullCommit(repository, source, {
          reference,
          ...(tag === undefined ? {} : { tag }),
          ...(baseName === undefined ? {} : { baseName }),
          ...(jobs === undefined ? {} : { jobs }),
          ...(verify === undefined ? {} : { verify }),
          timestampCheck: options.timestampCheck ?? false,
          progress,
        })
      );
      showPull(context, result, { json: options.json ?? false });
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r ostree pull-local /ostree/repo fedora/stable",
      "cfs --repo r ostree pull-local --ref-as mine /ostree/repo 927c5470",
    ],
    complete: { "0": "directory", "--base-name": "ostree-tag", "--gpg-keyring": "file" },
  });
}
