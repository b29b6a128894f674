/** Whether a policy lets an image in (spec: trust 4, 12). */
import { PolicyError } from "../base/mod.ts";
import { checkBundleSignature } from "./bundle_check.ts";
import type { CheckContext } from "./check_context.ts";
import { PolicyKeys } from "./keys.ts";
import type { Policy, Requirement, SignedBy, SigstoreSigned } from "./policy.ts";
import { chooseRequirements, type PolicyImage } from "./scopes.ts";
import {
  COSIGN_PAYLOAD_TYPE,
  type FoundSignature,
  type FoundSignatures,
  MAX_SIGNATURES,
} from "./signature.ts";
import { checkSigstoreSignature } from "./sigstore.ts";
import { checkSimpleSignature } from "./simple_signing.ts";
import type { PolicyVerdict, RequirementVerdict, SignatureVerdict } from "./verdict.ts";

/** Most reasons that a refusal tells; anybody can put any number of signatures beside an image. */
const MAX_REASONS = 32;

/** A manifest with what was found for it. */
export interface SignedManifest {
  /** Its exact bytes. */
  readonly bytes: Uint8Array;
  /** Signatures for it. */
  readonly signatures: FoundSignatures;
}

/** An index through which a manifest was chosen. */
export interface SignedIndex extends SignedManifest {
  /** Its digest, which was checked. */
  readonly digest: string;
}

/** How to evaluate. */
export interface EvaluateOptions {
  /** The time at which keys, signatures and certificates must be valid. @default now */
  now?: Date;
  /** The keys of the policy. @default read from its files */
  keys?: PolicyKeys;
  /** The index from which the manifest comes, and which lists it: its signatures count too. */
  index?: SignedIndex | undefined;
  /** What bundles, which carry no name, are taken to be signed for. @default nothing */
  bundleIdentity?: "repository" | undefined;
  /** Something that cannot be read spoils all, as in the reference. @default false */
  strictReading?: boolean;
}

/** Checks an image against a policy. */
export async function evaluatePolicy(
  policy: Policy,
  subject: { readonly image: PolicyImage; readonly manifest: SignedManifest },
  options: EvaluateOptions = {},
): Promise<PolicyVerdict> {
  const keys = options.keys ?? new PolicyKeys();
  const { image, manifest } = subject;
  const own = await evaluateManifest(policy, { image, manifest }, { ...options, keys });
  const { index } = options;
  if (own.accepted || index === undefined) return own;
  const byIndex = await evaluateManifest(policy, { image, manifest: index }, { ...options, keys });
  return byIndex.accepted ? { ...byIndex, byIndex: index.digest } : own;
}

async function evaluateManifest(
  policy: Policy,
  subject: { readonly image: PolicyImage; readonly manifest: SignedManifest },
  options: EvaluateOptions & { keys: PolicyKeys },
): Promise<PolicyVerdict> {
  const { image, manifest } = subject;
  const context: CheckContext = {
    image,
    manifest: manifest.bytes,
    keys: options.keys,
    now: options.now ?? new Date(),
    bundleIdentity: options.bundleIdentity,
  };
  const chosen = chooseRequirements(policy, image);
  const requirements: RequirementVerdict[] = [];
  let reason: string | undefined;
  for (const requirement of chosen.requirements) {
    const checked = await checkRequirement(requirement, manifest.signatures, {
      context,
      strict: options.strictReading ?? false,
    });
    requirements.push(checked);
    reason = checked.reason;
    if (!checked.accepted) break;
  }
  // No demands at all is nothing that could have been met; parsing refuses such a policy.
  const accepted = requirements.length > 0 && requirements.every((one) => one.accepted);
  return { accepted, reason, chosen, requirements, byIndex: undefined };
}

interface Checking {
  readonly context: CheckContext;
  readonly strict: boolean;
}

async function checkRequirement(
  requirement: Requirement,
  found: FoundSignatures,
  checking: Checking,
): Promise<RequirementVerdict> {
  const outcome = (
    reason: string | undefined,
    signatures: readonly SignatureVerdict[] = [],
  ): RequirementVerdict => ({ requirement, accepted: reason === undefined, reason, signatures });
  switch (requirement.type) {
    case "insecureAcceptAnything":
      return outcome(undefined);
    case "reject":
      return outcome(`Running image ${checking.context.image.shown} is rejected by policy.`);
    case "signedBaseLayer":
      return outcome("signedBaseLayer not implemented yet!");
    case "signedBy": {
      const signatures: SignatureVerdict[] = [];
      for (const signature of bounded(found, "simple")) {
        if (signature.kind !== "simple") continue;
        const { context } = checking;
        signatures.push(await checkSimpleSignature(signature, requirement, context));
      }
      return outcome(refusal(requirement, { signatures, found, checking }), signatures);
    }
    case "sigstoreSigned": {
      const signatures: SignatureVerdict[] = [];
      for (const signature of [...bounded(found, "sigstore"), ...bounded(found, "bundle")]) {
        const { context } = checking;
        if (signature.kind === "bundle") {
          signatures.push(checkBundleSignature(signature, requirement, context));
        } else if (signature.kind === "sigstore" && isSignature(signature)) {
          signatures.push(checkSigstoreSignature(signature, requirement, context));
        }
      }
      return outcome(refusal(requirement, { signatures, found, checking }), signatures);
    }
  }
}

function bounded(found: FoundSignatures, kind: FoundSignature["kind"]): FoundSignature[] {
  const all = found.signatures.filter((one) => one.kind === kind);
  if (all.length <= MAX_SIGNATURES) return all;
  throw new PolicyError(`${all.length} signatures, more than ${MAX_SIGNATURES}`);
}

function isSignature(found: FoundSignature): boolean {
  return found.kind === "sigstore" && found.mediaType === COSIGN_PAYLOAD_TYPE;
}

/** Why a demand is not met; `undefined` when it is. */
function refusal(
  requirement: SignedBy | SigstoreSigned,
  result: { signatures: readonly SignatureVerdict[]; found: FoundSignatures; checking: Checking },
): string | undefined {
  const { signatures, found, checking } = result;
  const unreadable = found.faults.map(({ place, reason }) =>
    `parsing signature ${JSON.stringify(place)}: ${reason}`
  );
  if (checking.strict && unreadable.length > 0) return unreadable[0];
  if (signatures.some(({ accepted }) => accepted)) return undefined;
  const reasons = [...signatures.map(({ reason }) => reason ?? ""), ...unreadable];
  if (reasons.length === 1) return reasons[0];
  if (reasons.length > 1) {
    const told = reasons.slice(0, MAX_REASONS);
    if (reasons.length > MAX_REASONS) told.push(`${reasons.length - MAX_REASONS} more`);
    return `None of the signatures were accepted, reasons: ${told.join("; ")}`;
  }
  const others = requirement.type === "sigstoreSigned" ? othersAbout(found) : "";
  const notes = found.notes.map((note) => `; ${note}`).join("");
  return `A signature was required, but no signature exists${others}${notes}`;
}

function othersAbout(found: FoundSignatures): string {
  const simple = found.signatures.filter(({ kind }) => kind === "simple").length;
  const attached = found.signatures.filter(({ kind }) => kind === "sigstore").length;
  if (simple + attached === 0) return "";
  return ` (${simple} non-sigstore signatures, ${attached} sigstore non-signature attachments)`;
}
