/** The options of `mkcomposefs`, and what they come to (spec: erofs 7.1). */
import type { HashName } from "../lib/base/mod.ts";
import type { DumpfileDialect } from "../lib/dumpfile/mod.ts";
import type { ErofsVersion } from "../lib/erofs/mod.ts";
import {
  dropXattrs,
  type FileTree,
  hasWhiteout,
  keepUserXattrs,
  skipDevices,
  useEpoch,
} from "../lib/tree/mod.ts";
import { InvalidArgumentError } from "./commander.ts";
import { FailedError } from "./errors.ts";

/** The newest version that the C tool knows. */
export const NEWEST = 1;

/** What the options were given as. */
export interface Options {
  /** `--from-file`. */
  fromFile?: true;
  /** `--print-digest`. */
  printDigest?: true;
  /** `--print-digest-only`. */
  printDigestOnly?: true;
  /** `--use-epoch`. */
  useEpoch?: true;
  /** `--skip-devices`. */
  skipDevices?: true;
  /** `--skip-xattrs`. */
  skipXattrs?: true;
  /** `--user-xattrs`. */
  userXattrs?: true;
  /** `--min-version`. */
  minVersion?: number;
  /** `--max-version`. */
  maxVersion?: number;
  /** `--digest-store`. */
  digestStore?: string;
  /** `--hardlinks`. */
  hardlinks?: true;
  /** `--threads`. */
  threads?: number;
  /** `--hash`. */
  hash: HashName;
  /** `--erofs-version`. */
  erofsVersion?: string;
  /** `--dialect`. */
  dialect: DumpfileDialect;
}

/**
 * Parses a number as the reference does.
 *
 * @param text The value.
 * @throws {InvalidArgumentError} in the reference's words
 */
export function wholeNumber(text: string): number {
  if (!/^\+?[0-9]{1,9}$/.test(text)) {
    throw new InvalidArgumentError("invalid digit found in string");
  }
  return Number(text);
}

/**
 * Parses a number of threads.
 *
 * @param text The value.
 * @throws {InvalidArgumentError} for none or no number
 */
export function threadCount(text: string): number {
  const count = wholeNumber(text);
  if (count === 0) throw new InvalidArgumentError("must be at least 1");
  return count;
}

/** The version range as the C tool understands it: one option alone also sets the other. */
function versionRange(options: Options): { min: number; max: number } {
  const { minVersion: min = 0, maxVersion } = options;
  const max = maxVersion ?? 1;
  if (min > max) {
    throw new FailedError(
      `Invalid version range: --min-version (${min}) must not exceed --max-version (${max})`,
    );
  }
  if (min > NEWEST) {
    throw new FailedError(
      `--min-version ${min} is not supported; the maximum C-compatible version is ${NEWEST}`,
    );
  }
  const alone = options.minVersion !== undefined && maxVersion === undefined;
  return { min, max: alone ? min : max };
}

/**
 * The format version of an image: whiteouts need a newer one, which is used when the range allows it.
 *
 * @param tree What is in the image.
 * @param options The options.
 * @throws {FailedError} when the range makes no sense
 */
export function imageVersion(tree: FileTree, options: Options): ErofsVersion {
  if (options.erofsVersion !== undefined) return Number(options.erofsVersion) as ErofsVersion;
  const { min, max } = versionRange(options);
  return min === 0 && (max === 0 || !hasWhiteout(tree)) ? 0 : NEWEST;
}

/**
 * Changes a tree as the options say.
 *
 * @param tree Changed in place.
 * @param options The options.
 */
export function filterTree(tree: FileTree, options: Options): void {
  if (options.useEpoch) useEpoch(tree);
  if (options.skipDevices) skipDevices(tree);
  if (options.skipXattrs) dropXattrs(tree);
  else if (options.userXattrs) keepUserXattrs(tree);
}

/**
 * Checks what the parser cannot.
 *
 * @param image Where the image goes, undefined for nowhere.
 * @param options The options.
 * @throws {FailedError} when they contradict each other
 */
export function checkOptions(image: string | undefined, options: Options): void {
  if (options.printDigestOnly && image !== undefined) {
    throw new FailedError("IMAGE must be omitted when using --print-digest-only");
  }
  if (!options.printDigestOnly && image === undefined) {
    throw new FailedError("IMAGE is required (or use --print-digest-only)");
  }
  versionRange(options);
}
