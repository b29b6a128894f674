/** What must be signed, and by whom (spec: ostree 9.2). */
import type { GpgKeyring } from "../signature/mod.ts";
import { NO_SIGN_KEYS, type SignKeys, type SignType } from "./sign_keys.ts";

/** Kinds of signatures of which one must be valid: none, any with keys, or these. */
export type SignRequirement = "off" | "any" | readonly SignType[];

/**
 * What must be signed. GPG and the other kinds are independent: when both are asked for, both must
 * pass; within one, a single valid signature is enough.
 */
export interface VerifyPolicy {
  /** Commits must have a valid GPG signature (`gpg-verify`). */
  readonly gpg: boolean;
  /** Summaries must have one (`gpg-verify-summary`). */
  readonly gpgSummary: boolean;
  /** Other signatures of commits (`sign-verify`). */
  readonly sign: SignRequirement;
  /** Other signatures of summaries (`sign-verify-summary`). */
  readonly signSummary: SignRequirement;
  /** Keys for GPG. */
  readonly keyring: GpgKeyring | undefined;
  /** Keys for the others. */
  readonly signKeys: SignKeys;
}

/** Nothing is verified. */
export const NO_VERIFICATION: VerifyPolicy = {
  gpg: false,
  gpgSummary: false,
  sign: "off",
  signSummary: "off",
  keyring: undefined,
  signKeys: NO_SIGN_KEYS,
};

/** Whether commits are verified in any way. */
export function verifiesCommits(policy: VerifyPolicy): boolean {
  return policy.gpg || policy.sign !== "off";
}

/** Whether summaries are verified in any way, so that `summary.sig` is needed. */
export function verifiesSummary(policy: VerifyPolicy): boolean {
  return policy.gpgSummary || policy.signSummary !== "off";
}
