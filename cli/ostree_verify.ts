/** Options that say which signatures are wanted, and what comes of them. */
import {
  type ApplyLocalDeltaOptions,
  type ArrivedCommit,
  type ArrivedSummary,
  type DeltaEnvelope,
  keyPolicy,
  NO_VERIFICATION,
  type Remote,
  remotePolicy,
  SYSTEM_TRUST,
  verifiesCommits,
  verifiesSummary,
  verifyCommit,
  verifyDelta,
  type VerifyPolicy,
  verifySummary,
} from "../lib/ostree/mod.ts";
import { Option } from "./commander.ts";
import type { Context } from "./context.ts";
import { collect } from "./declare.ts";

/** The option with GPG keys. */
export const GPG_KEYRING_OPTION = new Option(
  "--gpg-keyring <PATH>",
  "File or directory with GPG keys; commits must be signed by one of them (may be repeated)",
).argParser(collect);

/** The option with other keys. */
export const SIGN_KEY_OPTION = new Option(
  "--sign-key <TYPE:KEY>",
  "ed25519: or spki: and a key in base64, a file or a directory (may be repeated)",
).argParser(collect);

/** The option with a file of ed25519 keys, as ostree has it. */
export const SIGN_KEYFILE_OPTION = new Option(
  "--sign-keyfile <FILE>",
  "The same as --sign-key ed25519:file:FILE (may be repeated)",
).argParser(collect);

/** The options, as they were given. */
export interface VerifyArguments {
  /** Paths of GPG keys. */
  gpgKeyring?: string[] | undefined;
  /** Keys with their kinds. */
  signKey?: string[] | undefined;
  /** Files with ed25519 keys. */
  signKeyfile?: string[] | undefined;
  /** False with `--no-verify`. */
  verify?: boolean | undefined;
}

/**
 * What must be signed: by keys that are given, else as the remote says, else nothing.
 *
 * @param options What was given.
 * @param from The configured remote that is pulled from, if it is one, with its own keys.
 * @throws {ComposefsError} when a key cannot be read
 */
export function chosenPolicy(
  options: VerifyArguments,
  from: { remote?: Remote | undefined; keyring?: Uint8Array | undefined } = {},
): VerifyPolicy {
  const { gpgKeyring: gpgKeyrings = [], signKey = [], signKeyfile = [], verify = true } = options;
  if (!verify) return NO_VERIFICATION;
  const signKeys = [...signKey, ...signKeyfile.map((path) => `ed25519:file:${path}`)];
  if (gpgKeyrings.length + signKeys.length > 0) return keyPolicy({ gpgKeyrings, signKeys });
  const { remote, keyring } = from;
  if (remote === undefined) return NO_VERIFICATION;
  const home = Deno.env.get("OSTREE_GPG_HOME");
  const places = home ? { ...SYSTEM_TRUST, globalKeyrings: home } : SYSTEM_TRUST;
  return remotePolicy(remote, { keyring, places });
}

/** What a pull does with signatures. */
export interface VerifyHooks {
  /** For commits. */
  verify?: (commit: ArrivedCommit) => Promise<void>;
  /** For summaries. */
  verifySummary?: (summary: ArrivedSummary) => Promise<void>;
  /** For static deltas of servers, whose commits are verified by themselves. */
  verifyDelta?: (delta: DeltaEnvelope) => Promise<void>;
}

/**
 * What a pull needs to follow a policy; nothing where the policy asks for nothing.
 *
 * @param policy The policy.
 */
export function verifyHooks(policy: VerifyPolicy): VerifyHooks {
  return {
    ...(verifiesCommits(policy)
      ? {
        verify: async ({ bytes, detached }: ArrivedCommit) => {
          await verifyCommit(bytes, detached, { policy });
        },
      }
      : {}),
    ...(policy.sign === "off" ? {} : {
      verifyDelta: async ({ superblock, signatures }: DeltaEnvelope) => {
        if (signatures !== undefined) await verifyDelta(superblock, signatures, { policy });
      },
    }),
    ...(verifiesSummary(policy)
      ? {
        verifySummary: async ({ bytes, signature }: ArrivedSummary) => {
          await verifySummary(bytes, signature, { policy });
        },
      }
      : {}),
  };
}

/**
 * What applying a delta needs to follow a policy. A signature over the delta covers the commit in it;
 * of one without such signatures, those of the commit count.
 *
 * @param policy The policy.
 */
export function verifyDeltaHook(policy: VerifyPolicy): Pick<ApplyLocalDeltaOptions, "verify"> {
  if (!verifiesCommits(policy)) return {};
  return {
    verify: async ({ bytes, detached }, { superblock, signatures }) => {
      if (signatures !== undefined) await verifyDelta(superblock, signatures, { policy });
      const left: VerifyPolicy = signatures === undefined ? policy : { ...policy, sign: "off" };
      await verifyCommit(bytes, detached, { policy: left });
    },
  };
}

/**
 * Says so when commits were taken without a look at their signatures.
 *
 * @param context The command's context.
 * @param policy The policy.
 */
export function warnUnverified(context: Context, policy: VerifyPolicy): void {
  if (!verifiesCommits(policy)) context.warn("commit signature not verified");
}
