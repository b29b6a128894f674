/** Which repository a command works on, and opening it. */
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
 * @throws {ComposefsError} when it cannot be opened
 */
export function openRepository(context: Context): Repository {
  if (context.globals.noRepo) {
    throw new FailedError("--no-repo is only supported for compute-id and create-dumpfile");
  }
  return Repository.open(repositoryPath(context.globals), openOptions(context));
}
