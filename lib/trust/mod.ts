/**
 * Whether an image may be used: `policy.json`, the signatures that it asks for, and where they are.
 *
 * @example Which demands does a policy have for an image?
 * ```ts
 * import { chooseRequirements, dockerImage, DockerName, parsePolicy } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const text = '{"default":[{"type":"reject"}],' +
 *   '"transports":{"docker":{"quay.io":[{"type":"insecureAcceptAnything"}]}}}';
 * const policy = parsePolicy(new TextEncoder().encode(text), "policy.json");
 * const image = dockerImage(DockerName.parse("quay.io/org/app:v1"));
 * assert.equal(chooseRequirements(policy, image).scope, "quay.io");
 * ```
 *
 * @module
 */
export { DockerName } from "./docker_name.ts";
export {
  type EvaluateOptions,
  evaluatePolicy,
  type SignedIndex,
  type SignedManifest,
} from "./evaluate.ts";
export { formatFault, type PolicyFault } from "./faults.ts";
export { formatIdentityRule, matchesIdentity } from "./identity.ts";
export type { TextPosition } from "./json.ts";
export { PolicyKeys } from "./keys.ts";
export { parsePayload, type PayloadKind, type SignaturePayload } from "./payload.ts";
export { parsePolicy, type PolicyReading, readPolicy } from "./policy_parse.ts";
export {
  type FulcioTrust,
  type IdentityRule,
  INSECURE_POLICY,
  KEY_TYPES,
  type KeySource,
  type KeyTrust,
  type KeyType,
  type PkiTrust,
  type Policy,
  type Requirement,
  type SignedBy,
  type SigstoreSigned,
} from "./policy.ts";
export {
  chooseRequirements,
  type ChosenScope,
  dockerImage,
  nameScopes,
  pathImage,
  type PathTransport,
  plainImage,
  type PolicyImage,
} from "./scopes.ts";
export {
  type BundleSignature,
  COSIGN_PAYLOAD_TYPE,
  type FoundSignature,
  type FoundSignatures,
  joinSignatures,
  MAX_SIGNATURE_SIZE,
  MAX_SIGNATURES,
  NO_SIGNATURES,
  parseSignatureBlob,
  SignatureBudget,
  type SignatureFault,
  type SigstoreAttachment,
  type SimpleSignature,
} from "./signature.ts";
export type { PolicyVerdict, RequirementVerdict, SignatureVerdict } from "./verdict.ts";
export {
  type AttachedEntry,
  type AttachedManifest,
  type AttachmentSource,
  findAttachments,
  signatureTag,
} from "./attachments.ts";
export { findPolicy, type LoadedPolicy, type PolicyChoice } from "./files.ts";
export {
  glanceAtPolicy,
  noPolicy,
  policyFiles,
  type PolicyGlance,
  processPlaces,
  type TrustPlaces,
} from "./places/mod.ts";
export { findInDirectory, findLookaside, type LookasideQuery } from "./lookaside.ts";
export { type RegistriesChoice, RegistriesD, type SignatureStorage } from "./registries_d.ts";
export { registryAttachments } from "./registry_attachments.ts";
export {
  type DiscoveryOptions,
  findSignatures,
  needsSignatures,
  type SignaturePlaces,
} from "./discovery.ts";
export { formatSignature, rejection } from "./rejection.ts";
export { type LintOptions, lintPolicy } from "./lint.ts";
