import {
  checksumOf,
  corruptedObject,
  findCommit,
  openCommit,
  readDetachedMetadata,
  RemoteStore,
  verifiesCommits,
  verifyCommit,
} from "../../lib/ostree/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { openRepository } from "../open_repository.ts";
import {
  chosenPolicy,
  GPG_KEYRING_OPTION,
  SIGN_KEY_OPTION,
  SIGN_KEYFILE_OPTION,
} from "../ostree_verify.ts";

const DESCRIPTION = `Check the signatures of a stored ostree commit

The signatures are those that came with the commit. The keys are given, or those of a remote, whose
options then say what must be signed.`;

/** Declares `ostree verify`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("verify")
    .description(DESCRIPTION)
    .argument("<COMMIT>", "Tag, commit ID, or the beginning of one")
    .addOption(GPG_KEYRING_OPTION)
    .addOption(SIGN_KEY_OPTION)
    .addOption(SIGN_KEYFILE_OPTION)
    .option("--remote <NAME>", "A remote of the repository whose policy and keys count")
    .option("--json", "Output as JSON")
    .action(async (name, options) => {
      using repository = openRepository(context);
      const { remote: chosen } = options;
      const store = new RemoteStore(repository.directory);
      const remote = chosen === undefined ? undefined : store.get(chosen);
      const keyring = chosen === undefined ? undefined : store.keyring(chosen);
      const policy = chosenPolicy(options, { remote, keyring });
      if (!verifiesCommits(policy)) {
        throw new UsageError(
          remote === undefined
            ? "one of --gpg-keyring, --sign-key and --remote is needed"
            : `remote "${remote.name}" asks for no signatures of commits`,
        );
      }
      const commit = findCommit(repository, name);
      const stored = openCommit(repository, commit);
      const bytes = stored.chunk.get(commit)?.data ?? new Uint8Array(0);
      // What was signed is the commit's id: the stored bytes must be the ones it stands for.
      const actual = checksumOf(bytes);
      if (actual !== commit) throw corruptedObject("commit", commit, actual);
      const detached = readDetachedMetadata(repository, stored);
      const { valid } = await verifyCommit(bytes, detached, { policy });
      if (options.json) {
        context.stdout.json({
          commit,
          valid: valid.map(({ type, key, userId, created }) => ({
            type,
            key,
            user_id: userId ?? null,
            created: created?.toISOString() ?? null,
          })),
        });
        return;
      }
      context.stdout.line(`commit ${commit}`);
      for (const { lines } of valid) for (const line of lines) context.stdout.line(`  ${line}`);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r ostree verify --gpg-keyring key.asc stable",
      "cfs --repo r ostree verify --remote origin stable",
    ],
    complete: { "0": "ostree-commit", "--gpg-keyring": "file", "--sign-key": "file" },
  });
}
