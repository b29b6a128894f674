/** What signatures are checked against, and what all of them have in common (spec: trust 4, 6). */
import { createHash } from "node:crypto";
import { Digest, FormatError, PolicyError } from "../base/mod.ts";
import { formatIdentityRule, matchesIdentity } from "./identity.ts";
import type { PolicyKeys } from "./keys.ts";
import type { SignaturePayload } from "./payload.ts";
import type { IdentityRule } from "./policy.ts";
import type { PolicyImage } from "./scopes.ts";

/** What signatures are checked against. */
export interface CheckContext {
  /** The image. */
  readonly image: PolicyImage;
  /** The exact bytes of its manifest. */
  readonly manifest: Uint8Array;
  /** The keys of the policy. */
  readonly keys: PolicyKeys;
  /** The time at which keys, signatures and certificates must be valid. */
  readonly now: Date;
  /**
   * Whether a bundle, which carries no name, counts as signed for the repository in which it was
   * found.
   */
  readonly bundleIdentity: "repository" | undefined;
}

/** Digest algorithms that a signature may name. */
const ALGORITHMS: readonly string[] = ["sha256", "sha384", "sha512"];

/** Whether a digest, as a signature has it, is that of the manifest. */
export function isManifestDigest(text: string, manifest: Uint8Array): boolean {
  let digest: Digest;
  try {
    digest = Digest.parse(text);
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
  const { algorithm, encoded } = digest;
  if (!ALGORITHMS.includes(algorithm)) return false;
  return createHash(algorithm).update(manifest).digest("hex") === encoded;
}

/**
 * Checks what was signed against the image.
 *
 * @throws {PolicyError} when it is another manifest, or another name
 */
export function checkClaims(
  payload: SignaturePayload,
  rule: IdentityRule,
  context: CheckContext,
): void {
  if (!isManifestDigest(payload.digest, context.manifest)) {
    throw new PolicyError(`Signature for digest ${payload.digest} does not match`);
  }
  const { name, shown } = context.image;
  if (matchesIdentity(rule, name, payload.reference)) return;
  const signed = payload.reference;
  throw new PolicyError(
    `Signature for identity ${JSON.stringify(signed)} is not accepted ` +
      `(signed for ${signed}, pulled as ${name ?? shown}, rule ${formatIdentityRule(rule)})`,
  );
}
