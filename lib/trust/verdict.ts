/** What came of checking signatures against a policy (spec: trust 4, 11). */
import type { ChosenScope } from "./scopes.ts";
import type { Requirement } from "./policy.ts";

/** What came of one signature for one demand. */
export interface SignatureVerdict {
  /** Kind of the signature. */
  readonly kind: "gpg" | "cosign" | "bundle";
  /** Where it was found. */
  readonly place: string;
  /** Who made it: fingerprint, hash of the key, or e-mail address. */
  readonly signer: string | undefined;
  /** Name that it claims. */
  readonly identity: string | undefined;
  /** Digest that it claims. */
  readonly digest: string | undefined;
  /** When it was made, as far as that is known. */
  readonly time: Date | undefined;
  /** Whether the claims are the signer's: it holds cryptographically. */
  readonly verified: boolean;
  /** Whether it meets the demand. */
  readonly accepted: boolean;
  /** Why it does not. */
  readonly reason: string | undefined;
}

/** What came of one demand. */
export interface RequirementVerdict {
  /** The demand. */
  readonly requirement: Requirement;
  /** Whether it is met. */
  readonly accepted: boolean;
  /** Why it is not. */
  readonly reason: string | undefined;
  /** What came of the signatures, in the order in which they were found. */
  readonly signatures: readonly SignatureVerdict[];
}

/** What came of a policy for one manifest. */
export interface PolicyVerdict {
  /** Whether all demands are met. */
  readonly accepted: boolean;
  /** Why not: the reason of the first demand that is not met. */
  readonly reason: string | undefined;
  /** The demands that applied. */
  readonly chosen: ChosenScope;
  /** What came of each, up to the first that is not met. */
  readonly requirements: readonly RequirementVerdict[];
  /** Digest of the index whose signatures count here; else it is the manifest's own. */
  readonly byIndex: string | undefined;
}

/** A verdict that is being put together. */
export interface Claims {
  /** Who made the signature. */
  signer?: string;
  /** Name that it claims. */
  identity?: string;
  /** Digest that it claims. */
  digest?: string;
  /** When it was made. */
  time?: Date;
  /** Whether it holds cryptographically. */
  verified?: boolean;
}

/** A signature that is being checked, and what it claims as far as that is known. */
export interface Checking {
  /** Kind of the signature. */
  readonly kind: SignatureVerdict["kind"];
  /** Where it was found. */
  readonly place: string;
  /** What it claims. */
  readonly claims: Claims;
}

/** What came of a signature; it is accepted when there is no reason why not. */
export function signatureVerdict(
  { kind, place, claims }: Checking,
  reason: string | undefined,
): SignatureVerdict {
  const { signer, identity, digest, time, verified = false } = claims;
  const accepted = reason === undefined;
  return { kind, place, signer, identity, digest, time, verified, accepted, reason };
}
