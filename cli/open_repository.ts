/** Which repository a command works on, and opening it. */
import { type Algorithm, ALGORITHMS, ComposefsError } from "../lib/base/mod.ts";
import { type OpenRepositoryOptions, Repository } from "../lib/repository/mod.ts";
import type { Context } from "./context.ts";
import { FailedError } from "./errors.ts";
import type { GlobalOptions } from "./globals.ts";

const SYSTEM_PATH = "/sysroot/composefs";
const USER_PATH = ".var/lib/composefs";

/**
 * Path of the repository that the global options choose (spec: repository 2).
 *
 * @param globals `--repo`, `--user`, `--system`; by default the user decides.
 * @throws {FailedError} when the user's repository is meant and there is no `$HOME`
 */
export function repositoryPath(globals: GlobalOptions): string {
  if (globals.repo !== undefined) return globals.repo;
  if (globals.system || (!globals.user && Deno.uid() === 0)) return SYSTEM_PATH;
  const home = Deno.env.get("HOME");
  if (!home) throw new FailedError("$HOME must be set when in user mode");
  return `${home}/${USER_PATH}`;
}

/** What the global options say about opening a repository. */
function openOptions(context: Context): OpenRepositoryOptions {
  const { hash, insecure, requireVerity, noUpgrade, erofsVersion } = context.globals;
  return {
    ...(hash === undefined ? {} : { hash }),
    ...(erofsVersion === undefined ? {} : { erofsVersion }),
    insecure: insecure ?? false,
    requireVerity: requireVerity ?? false,
    noUpgrade: noUpgrade ?? false,
    notice: (text) => context.warn(text),
  };
}

/**
 * Opens the repository that the global options choose.
 *
 * @param context The command's context.
 * @param options `noWait`: fail while somebody else has it to himself.
 * @throws {ComposefsError} when it cannot be opened
 */
export function openRepository(
  context: Context,
  options: { noWait?: boolean } = {},
): Repository {
  if (context.globals.noRepo) {
    throw new FailedError("--no-repo is only supported for compute-id and create-dumpfile");
  }
  return Repository.open(repositoryPath(context.globals), {
    ...openOptions(context),
    noWait: options.noWait ?? false,
  });
}

/** What a command that works without a repository takes from one. */
export interface Defaults {
  /** Algorithm of the digests. */
  readonly algorithm: Algorithm;
  /** Format the repository would write, when there is one. */
  readonly repositoryFormat: 0 | 1 | 2 | undefined;
}

/**
 * Algorithm for commands that need no repository: `--hash`, or that of the repository if one can be
 * opened, else sha512 (spec: erofs 7.4).
 *
 * @param context The command's context.
 */
export function defaultsWithoutRepository(context: Context): Defaults {
  const { globals } = context;
  const fallback: Defaults = {
    algorithm: ALGORITHMS[globals.hash ?? "sha512"],
    repositoryFormat: undefined,
  };
  if (globals.noRepo) return fallback;
  try {
    using repository = Repository.open(repositoryPath(globals), {
      noUpgrade: true,
      ...(globals.hash === undefined ? {} : { hash: globals.hash }),
    });
    return { algorithm: repository.algorithm, repositoryFormat: repository.formats[0] };
  } catch (error) {
    // The repository is only asked for its settings, so one that cannot be read does not matter.
    if (!(error instanceof ComposefsError)) throw error;
    return fallback;
  }
}

/**
 * EROFS format for commands that need no repository: `--erofs-version`, else 1. That a repository
 * would write another one is worth a warning, since the ids then differ from `create-image`.
 *
 * @param context The command's context.
 * @param defaults What was found.
 */
export function formatWithoutRepository(context: Context, defaults: Defaults): 0 | 1 | 2 {
  const { erofsVersion } = context.globals;
  if (erofsVersion !== undefined) return erofsVersion;
  const { repositoryFormat } = defaults;
  if (repositoryFormat !== undefined && repositoryFormat !== 1) {
    context.warn(
      `this is the id in EROFS format 1, but the repository writes format ${repositoryFormat}; ` +
        `--erofs-version ${repositoryFormat} gives its id`,
    );
  }
  return 1;
}
