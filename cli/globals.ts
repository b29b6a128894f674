/**
 * The options every command has: which repository, how strict, how talkative.
 *
 * @module
 */
import type { HashName } from "../lib/base/mod.ts";
import { type CommandUnknownOpts, Option } from "./commander.ts";
import { UsageError } from "./errors.ts";

/** How progress is shown. */
export type ProgressMode = "auto" | "plain" | "json" | "none";

/** The options every command has, as given. */
export interface GlobalOptions {
  /** `--repo`. */
  repo?: string;
  /** `--user`. */
  user?: boolean;
  /** `--system`. */
  system?: boolean;
  /** `--hash`. */
  hash?: HashName;
  /** `--erofs-version`. */
  erofsVersion?: 0 | 1 | 2;
  /** `--insecure`. */
  insecure?: boolean;
  /** `--require-verity`. */
  requireVerity?: boolean;
  /** `--no-upgrade`. */
  noUpgrade?: boolean;
  /** `--no-repo`. */
  noRepo?: boolean;
  /** `--quiet`. */
  quiet?: boolean;
  /** `--debug`. */
  debug?: boolean;
  /** `--progress`. */
  progress?: ProgressMode;
}

interface Declaration {
  flags: string;
  help: string;
  /** The only values allowed. */
  choices?: readonly string[];
  hidden?: boolean;
  /** For `--no-x`, which the parser would otherwise take as the opposite of `--x`. */
  key?: keyof GlobalOptions;
}

const DECLARATIONS: readonly Declaration[] = [
  { flags: "--repo <REPO>", help: "Operate on repo at path" },
  { flags: "--user", help: "Operate on repo at standard user location $HOME/.var/lib/composefs" },
  { flags: "--system", help: "Operate on repo at standard system location /sysroot/composefs" },
  {
    flags: "--hash <HASH>",
    help: "Hash of the repository; by default what its meta.json says",
    choices: ["sha256", "sha512"],
  },
  {
    flags: "--erofs-version <EROFS_VERSION>",
    help: "EROFS format of new images: 0 (C-compatible), 1 (the default), 2 (composefs-rs of old)",
    choices: ["0", "1", "2"],
  },
  { flags: "--insecure", help: "Do not check fs-verity in this run", hidden: true },
  { flags: "--require-verity", help: "Error if the repository does not have fs-verity enabled" },
  {
    flags: "--no-upgrade",
    help: "Fail on repositories without meta.json instead of inferring it from their objects",
    key: "noUpgrade",
  },
  {
    flags: "--no-repo",
    help: "Don't open a repository (compute-id, compute-karg and create-dumpfile only)",
    key: "noRepo",
  },
  { flags: "-q, --quiet", help: "No progress and no warnings on standard error" },
  {
    flags: "--progress <PROGRESS>",
    help: "Progress on standard error; auto: bars when it is a terminal",
    choices: ["auto", "plain", "json", "none"],
  },
  { flags: "--debug", help: "Show stack traces with errors" },
];

function longFlag(flags: string): string {
  return /--[a-z-]+/.exec(flags)![0];
}

/** The global options that take a value, for finding the command's name before parsing. */
export const GLOBAL_VALUE_FLAGS: ReadonlySet<string> = new Set(
  DECLARATIONS.filter(({ flags }) => flags.includes("<")).map(({ flags }) => longFlag(flags)),
);

/**
 * Declares the global options.
 *
 * @param command The program, or a command, whose own options of the same names stay.
 * @param options `hidden`: keep them out of the help text.
 */
export function addGlobalOptions(
  command: CommandUnknownOpts,
  options: { hidden: boolean },
): void {
  for (const declaration of DECLARATIONS) {
    if (command.options.some((own) => own.long === longFlag(declaration.flags))) continue;
    const option = new Option(declaration.flags, declaration.help);
    if (declaration.choices !== undefined) option.choices(declaration.choices);
    if (declaration.key !== undefined) {
      const key = declaration.key;
      option.negate = false;
      option.attributeName = () => key;
    }
    command.addOption(option.hideHelp(options.hidden || declaration.hidden === true));
  }
}

/** Pairs that exclude each other, as the parser of the reference words them. */
const EXCLUSIVE: readonly (readonly [keyof GlobalOptions, string, keyof GlobalOptions, string])[] =
  [
    ["repo", "--repo <REPO>", "user", "--user"],
    ["repo", "--repo <REPO>", "system", "--system"],
    ["user", "--user", "system", "--system"],
  ];

/**
 * The global options from before and after the command's name; the later ones win.
 *
 * @param before Options parsed for the program.
 * @param after Options parsed for the command.
 * @throws {UsageError} when two of them exclude each other
 */
export function resolveGlobals(
  before: Record<string, unknown>,
  after: Record<string, unknown>,
): GlobalOptions {
  const merged = { ...before, ...after };
  const version = merged.erofsVersion;
  const globals = {
    ...merged,
    ...(typeof version === "string" ? { erofsVersion: Number(version) } : {}),
  } as GlobalOptions;
  for (const [first, firstFlags, second, secondFlags] of EXCLUSIVE) {
    if (globals[first] !== undefined && globals[second] !== undefined) {
      throw new UsageError(`the argument '${firstFlags}' cannot be used with '${secondFlags}'`);
    }
  }
  return globals;
}
