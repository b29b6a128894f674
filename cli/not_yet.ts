/**
 * What the reference has and we have not: refused by name, so that nobody takes it for a slip.
 *
 * @module
 */
import { UnsupportedError } from "../lib/base/mod.ts";
import { type CommandUnknownOpts, Option } from "./commander.ts";
import { missingArguments } from "./usage.ts";

/** Commands of the reference by their words, with what is missing. */
const COMMANDS: Readonly<Record<string, string>> = {
  "fetch": "streams are not fetched by HTTP; oci pull and ostree pull fetch images",
  "oci prepare-boot": "boot entries cannot be written",
  "oci varlink": "there is no varlink service",
  "varlink": "there is no varlink service",
};

/**
 * Refuses a command of the reference that is not there.
 *
 * @param words The command's words.
 * @throws {UnsupportedError} when they are those of such a command
 */
export function refuseCommand(words: readonly string[]): void {
  for (const name of [words.slice(0, 1).join(" "), words.join(" ")]) {
    if (!Object.hasOwn(COMMANDS, name)) continue;
    throw new UnsupportedError(`${name} is not supported yet: ${COMMANDS[name]}`);
  }
}

/** Options of `oci pull` that are understood; the first two are refused. */
export interface PullFlags {
  /** `--bootable`. */
  bootable?: true | undefined;
  /** `--expected-digest`. */
  expectedDigest?: string | undefined;
}

/**
 * Declares the reference's options of `oci pull` for boot images and podman's storage.
 *
 * @param command The command.
 */
export function addPullOptions(command: CommandUnknownOpts): void {
  command
    .addOption(
      new Option("--bootable", "Not supported yet: also make an image for booting").hideHelp(),
    )
    .addOption(
      new Option("--expected-digest <EXPECTED_DIGEST>", "Not supported yet").hideHelp(),
    )
    .addOption(
      // What it is about, containers-storage, is refused by itself.
      new Option("--local-fetch <LOCAL_FETCH>", "Has no effect on sources that are supported")
        .choices(["disabled", "auto", "zerocopy"]).hideHelp(),
    );
}

/**
 * Refuses what is declared but cannot be done.
 *
 * @param flags The options.
 * @throws {UnsupportedError} for boot images
 * @throws {UsageError} for an option without the one it belongs to
 */
export function refusePullOptions(flags: PullFlags): void {
  if (flags.expectedDigest !== undefined && !flags.bootable) {
    throw missingArguments(["--bootable"]);
  }
  if (!flags.bootable) return;
  throw new UnsupportedError(
    "--bootable is not supported yet: boot images cannot be made of pulls",
  );
}
