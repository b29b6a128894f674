import { InvalidNameError } from "../../lib/base/mod.ts";
import { deltaFromServer, pruneJournals, pullRemote, RemoteSource } from "../../lib/ostree/mod.ts";
import { type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, parsed, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { jobsOption } from "../jobs.ts";
import { openRepository } from "../open_repository.ts";
import { allRefs, findOrigin, openOrigin } from "../ostree_origin.ts";
import { showPulls } from "../ostree_pull_output.ts";
import { journalsOf } from "../ostree_journals.ts";
import {
  chosenPolicy,
  GPG_KEYRING_OPTION,
  SIGN_KEY_OPTION,
  SIGN_KEYFILE_OPTION,
  verifyHooks,
  warnUnverified,
} from "../ostree_verify.ts";

const DESCRIPTION = `Pull ostree commits from a server

OSTREE_REPO_URL is http:, https:, file:, mirrorlist=URL, metalink=URL or the name of a configured
remote.
What stored commits hold is not fetched again, nor what a pull brought that did not get to its end;
a static delta is used where there is one. Every object is checked against its checksum before
anything gets a name. Each ref becomes its commit's tag as well. Commits are pulled as a whole:
there are no subpaths.`;

function parseDepth(text: string): number {
  if (/^(?:-1|[0-9]{1,6})$/.test(text)) return Number(text);
  throw new InvalidNameError("expected a number, or -1 for all");
}

/** Declares `ostree pull`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("pull")
    .description(DESCRIPTION)
    .argument("<OSTREE_REPO_URL>", "Where the repository is, or the name of a remote")
    .argument("[OSTREE_REF...]", "Refs and commit IDs; ^ for the parent; a remote may name refs")
    .option("--base-name <BASE_NAME>", "A tag whose objects need not be fetched again")
    .option("--ref-as <NAME>", "Tag to make instead of the ref's name")
    .option("--no-tag", "Make no tag")
    .option("--no-delta", "Fetch objects even where there is a static delta")
    .addOption(
      new Option("--require-delta", "Fail where there is no static delta that can be used")
        .conflicts("delta"),
    )
    .option("--mirror", "Pull all refs that the summary lists")
    .addOption(
      new Option("--depth <DEPTH>", "How many parents to pull as well; -1 for all")
        .argParser(parsed(parseDepth)),
    )
    .addOption(GPG_KEYRING_OPTION)
    .addOption(SIGN_KEY_OPTION)
    .addOption(SIGN_KEYFILE_OPTION)
    .option("--no-verify", "Do not check signatures, whatever the remote says")
    .option("--timestamp-check", "Refuse a commit older than the one the tag leads to")
    .option("--disable-ref-binding-check", "Accept a commit that is bound to other refs")
    .addOption(jobsOption("Requests at a time (defaults to 16)"))
    .option("--subset <SUBSET>", "Part of the summary index (defaults to the architecture)")
    .option("--contenturl <URL>", "Where the objects are, when elsewhere")
    .option("--proxy <URL>", "Proxy to go through")
    .option("--tls-permissive", "Take any certificate of the server")
    .option("--tls-ca-path <FILE>", "Certificates of authorities to trust")
    .option("--tls-client-cert-path <FILE>", "Certificate to show")
    .option("--tls-client-key-path <FILE>", "Key to the certificate")
    .option("--cookies <FILE>", "Cookies in Netscape's format")
    .option("--json", "Output the results as JSON")
    .addOption(new Option("--require-static-deltas", "").conflicts("delta").hideHelp())
    .option("--remote-config <FILE>", "Ostree config with the remotes, in place of the own ones")
    .option("--remote <NAME>", "Remote whose options count for OSTREE_REPO_URL")
    .action(async (url, references, options) => {
      using repository = openRepository(context);
      const origin = findOrigin(url, repository, options);
      const wanted = references.length > 0 ? references : origin.remote?.branches ?? [];
      if (wanted.length === 0 && !options.mirror) throw new UsageError("OSTREE_REF is missing");
      if (options.refAs !== undefined && (options.mirror || wanted.length !== 1)) {
        throw new UsageError("--ref-as names the tag of a single ref");
      }
      const policy = chosenPolicy(options, origin);
      const { verify, verifySummary, verifyDelta } = verifyHooks(policy);
      using source = openOrigin(origin, {
        ...options,
        repository,
        ...(verifySummary === undefined ? {} : { more: { verifySummary } }),
      });
      const { baseName, refAs, jobs, depth } = options;
      const tag = options.tag ? refAs : null;
      const journals = journalsOf(repository);
      const results = await context.working(async (progress) => {
        const delta = !options.delta || !(source instanceof RemoteSource)
          ? undefined
          : deltaFromServer(
            source,
            {
              require: options.requireDelta ?? options.requireStaticDeltas ?? false,
              progress,
              ...(verifyDelta === undefined ? {} : { verify: verifyDelta }),
            },
          );
        return await pullRemote(repository, source, {
          references: options.mirror ? [...await allRefs(source), ...references] : wanted,
          ...(tag === undefined ? {} : { tag }),
          ...(baseName === undefined ? {} : { baseName }),
          ...(jobs === undefined ? {} : { jobs }),
          ...(depth === undefined ? {} : { depth }),
          ...(journals === undefined ? {} : { journals }),
          ...(verify === undefined ? {} : { verify }),
          ...(delta === undefined ? {} : { delta }),
          timestampCheck: options.timestampCheck ?? false,
          disableRefBindingCheck: options.disableRefBindingCheck ?? false,
          progress,
        });
      });
      if (journals !== undefined) pruneJournals(journals);
      warnUnverified(context, policy);
      showPulls(context, results, { json: options.json ?? false });
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r ostree pull https://example.org/repo fedora/stable",
      "cfs --repo r ostree pull origin fedora/stable",
      "cfs --repo r ostree pull --mirror --depth=1 https://example.org/repo",
    ],
    complete: {
      "0": "ostree-remote",
      "--base-name": "ostree-tag",
      "--cookies": "file",
      "--tls-ca-path": "file",
      "--remote-config": "file",
    },
  });
}
