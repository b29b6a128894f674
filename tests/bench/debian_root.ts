/** Debian roots for the benchmarks' inputs. */
import { runOk } from "../helpers/run.ts";
import { unmountBelow } from "../helpers/temp.ts";

/** Milliseconds that a step may take. */
export const STEP_TIMEOUT = 20 * 60_000;

/**
 * Runs apt-get in a root, with what package scripts expect to find mounted; package lists are
 * fetched first.
 */
export async function aptGet(root: string, args: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };
  const options = { env, timeout: STEP_TIMEOUT };
  await Deno.copyFile("/etc/resolv.conf", `${root}/etc/resolv.conf`);
  await runOk(["mount", "-t", "proc", "proc", `${root}/proc`]);
  try {
    await runOk(["chroot", root, "apt-get", "update", "-q"], options);
    await runOk(["chroot", root, "apt-get", ...args, "-qy", "--no-install-recommends"], options);
  } finally {
    unmountBelow(root);
  }
}

/** Removes what images seldom ship: package files, package lists, logs, manual pages. */
export async function cleanRoot(root: string): Promise<void> {
  await runOk([
    "sh",
    "-c",
    "rm -rf var/cache/apt/archives/*.deb var/cache/apt/*.bin var/lib/apt/lists/* " +
    "var/log/*.log var/log/apt/* usr/share/man/* etc/resolv.conf",
  ], { cwd: root });
}
