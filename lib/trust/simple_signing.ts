/** Checking simple signatures: OpenPGP over a payload that names the image (spec: trust 6). */
import { ComposefsError, FormatError, PolicyError } from "../base/mod.ts";
import { checkClaims, type CheckContext } from "./check_context.ts";
import { parsePayload } from "./payload.ts";
import type { SignedBy } from "./policy.ts";
import type { SimpleSignature } from "./signature.ts";
import { type Claims, type SignatureVerdict, signatureVerdict } from "./verdict.ts";

/** Checks one signature for one demand. */
export async function checkSimpleSignature(
  signature: SimpleSignature,
  requirement: SignedBy,
  context: CheckContext,
): Promise<SignatureVerdict> {
  const claims: Claims = {};
  const checking = { kind: "gpg", place: signature.place, claims } as const;
  try {
    await check(signature, requirement, { context, claims });
    return signatureVerdict(checking, undefined);
  } catch (error) {
    // Whatever is wrong with it is the reason why it does not count.
    if (!(error instanceof ComposefsError)) throw error;
    return signatureVerdict(checking, error.message);
  }
}

async function check(
  signature: SimpleSignature,
  requirement: SignedBy,
  options: { context: CheckContext; claims: Claims },
): Promise<void> {
  const { context, claims } = options;
  if (requirement.keyType !== "GPGKeys") {
    throw new PolicyError(`Unimplemented "keyType" value "${requirement.keyType}"`);
  }
  const keyring = context.keys.keyring(requirement.keys);
  if ((await keyring.fingerprints()).length === 0) {
    throw new PolicyError("No public keys imported");
  }
  const { content, count, verdict } = await keyring.verifyMessage(signature.bytes, {
    now: context.now,
  });
  if (verdict === undefined) {
    readUnverified(content, claims);
    throw new PolicyError(`Unexpected GPG signature count ${count}`);
  }
  claims.signer = verdict.fingerprint ?? verdict.keyId;
  if (verdict.created !== undefined) claims.time = verdict.created;
  if (verdict.status !== "good") {
    readUnverified(content, claims);
    throw new PolicyError(`Invalid GPG signature: ${verdict.lines.join("; ")}`);
  }
  claims.verified = true;
  const payload = parsePayload(content, "simple");
  claims.identity = payload.reference;
  claims.digest = payload.digest;
  checkClaims(payload, requirement.identity, context);
}

/** What a signature that does not hold claims, only to be shown. */
function readUnverified(content: Uint8Array, claims: Claims): void {
  try {
    const { reference, digest } = parsePayload(content, "simple");
    claims.identity = reference;
    claims.digest = digest;
  } catch (error) {
    // Then there is nothing to be shown.
    if (!(error instanceof FormatError)) throw error;
  }
}
