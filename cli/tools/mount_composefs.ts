/**
 * `mount.composefs`: the helper that mount(8) calls (spec: boot-and-mount 3).
 *
 * @module
 */
import { HELPER_USAGE, parseMountCommand, runMountCommand } from "../../lib/mount/mod.ts";
import type { Context } from "../context.ts";
import { causeChain } from "../errors.ts";
import { EXIT } from "../exit_codes.ts";

/** Runs `mount.composefs`; all failures are one line and exit code 1, as mount(8) expects. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  try {
    const command = parseMountCommand(args);
    if (command.help) context.stdout.write(HELPER_USAGE);
    else await runMountCommand(command);
    return EXIT.ok;
  } catch (error) {
    context.stderr.line(`mount.composefs: ${causeChain(error).join(": ")}`);
    return EXIT.failed;
  }
}
