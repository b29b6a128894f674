/** Checking sigstore signatures as cosign attaches them to images (spec: trust 8). */
import { createHash } from "node:crypto";
import { ComposefsError, FormatError, PolicyError } from "../base/mod.ts";
import { Certificate, chainFault, type PublicKey, singlePemBlock } from "../signature/mod.ts";
import { checkEmail, checkHostname, checkOidcIssuer } from "./certificate_identity.ts";
import { checkClaims, type CheckContext } from "./check_context.ts";
import { decodeGoBase64 } from "./fields.ts";
import { chainIntermediates } from "./keys.ts";
import { parsePayload } from "./payload.ts";
import type { SigstoreSigned } from "./policy.ts";
import { checkPromise, parseSet } from "./rekor.ts";
import type { SigstoreAttachment } from "./signature.ts";
import { type Claims, type SignatureVerdict, signatureVerdict } from "./verdict.ts";

/** Annotations of a layer that is a signature. */
const COSIGN_ANNOTATION = {
  signature: "dev.cosignproject.cosign/signature",
  certificate: "dev.sigstore.cosign/certificate",
  chain: "dev.sigstore.cosign/chain",
  bundle: "dev.sigstore.cosign/bundle",
} as const;

/** Checks one signature for one demand. */
export function checkSigstoreSignature(
  attachment: SigstoreAttachment,
  requirement: SigstoreSigned,
  context: CheckContext,
): SignatureVerdict {
  const claims: Claims = {};
  const checking = { kind: "cosign", place: attachment.place, claims } as const;
  try {
    check(attachment, requirement, { context, claims });
    return signatureVerdict(checking, undefined);
  } catch (error) {
    // Whatever is wrong with it is the reason why it does not count.
    if (!(error instanceof ComposefsError)) throw error;
    if (!claims.verified) readUnverified(attachment, claims);
    return signatureVerdict(checking, error.message);
  }
}

function check(
  attachment: SigstoreAttachment,
  requirement: SigstoreSigned,
  options: { context: CheckContext; claims: Claims },
): void {
  const { context, claims } = options;
  const signature = decodeGoBase64(annotation(attachment, "signature"));
  if (signature === undefined) {
    throw new FormatError("sigstore signature", "illegal base64 data in the signature annotation");
  }
  const signed: Signed = { attachment, signature, context, claims };
  const { trust } = requirement;
  if (trust.kind === "keys") checkKeys(signed, requirement);
  else if (trust.kind === "fulcio") verifyPayload(signed, fulcioKey(signed, requirement));
  else verifyPayload(signed, pkiKey(signed, requirement));
  claims.verified = true;
  const payload = parsePayload(attachment.payload, "cosign");
  claims.identity = payload.reference;
  claims.digest = payload.digest;
  if (claims.time === undefined && payload.timestamp !== undefined) {
    const time = new Date(payload.timestamp * 1000);
    if (Number.isFinite(time.getTime())) claims.time = time;
  }
  checkClaims(payload, requirement.identity, context);
}

interface Signed {
  readonly attachment: SigstoreAttachment;
  readonly signature: Uint8Array;
  readonly context: CheckContext;
  readonly claims: Claims;
}

/** An annotation that must be there. */
function annotation(
  attachment: SigstoreAttachment,
  name: keyof typeof COSIGN_ANNOTATION,
): string {
  const key = COSIGN_ANNOTATION[name];
  const value = attachment.annotations.get(key);
  if (value === undefined) throw new PolicyError(`missing ${key} annotation`);
  return value;
}

/** One of the keys must have made the signature, and the log know it where that is asked for. */
function checkKeys(signed: Signed, requirement: SigstoreSigned): void {
  const { attachment, context, claims } = signed;
  const { trust, rekor } = requirement;
  const keys = trust.kind === "keys" ? context.keys.publicKeys(trust.keys) : [];
  const logKeys = rekor === undefined ? undefined : context.keys.publicKeys(rekor);
  const promise = logKeys === undefined ? undefined : parseSet(annotation(attachment, "bundle"));
  const { key, time } = makerOf(keys, (key) => {
    const time = promise === undefined
      ? undefined
      : checkPromise(promise, { ...signed, ...attachment, logKeys: logKeys!, signer: key.spki });
    verifyPayload(signed, key);
    return time;
  });
  claims.signer = keyId(key);
  if (time !== undefined) claims.time = time;
}

/**
 * The key that made a signature, and when the log had it.
 *
 * @param check throws when the key did not make it
 * @throws what is wrong with the first key, when none did
 */
export function makerOf(
  keys: readonly PublicKey[],
  check: (key: PublicKey) => Date | undefined,
): { key: PublicKey; time: Date | undefined } {
  let fault: ComposefsError | undefined;
  for (const key of keys) {
    try {
      return { key, time: check(key) };
    } catch (error) {
      // Another key may have made it.
      if (!(error instanceof ComposefsError)) throw error;
      fault ??= error;
    }
  }
  throw fault ?? new PolicyError("No public keys imported");
}

/** How a key is called: the hash of it. */
export function keyId(key: PublicKey): string {
  return `sha256:${createHash("sha256").update(key.spki).digest("hex")}`;
}

function verifyPayload(signed: Signed, key: PublicKey): void {
  if (key.verify(signed.attachment.payload, signed.signature)) return;
  throw new PolicyError(
    "cryptographic signature verification failed: invalid signature when validating the payload",
  );
}

function leafCertificate(signed: Signed): Certificate {
  const block = singlePemBlock(annotation(signed.attachment, "certificate"));
  if (block.label !== "CERTIFICATE") {
    throw new FormatError("certificate", `PEM block "${block.label}" is no certificate`);
  }
  return Certificate.fromDer(block.bytes);
}

/** The key of a certificate by Fulcio, which was valid when the signature was logged. */
function fulcioKey(signed: Signed, requirement: SigstoreSigned): PublicKey {
  const { attachment, context, claims } = signed;
  const { trust, rekor } = requirement;
  if (trust.kind !== "fulcio" || rekor === undefined) {
    throw new PolicyError("Fulcio certificates need the key of a log");
  }
  const certificate = leafCertificate(signed);
  const time = checkPromise(parseSet(annotation(attachment, "bundle")), {
    ...signed,
    ...attachment,
    logKeys: context.keys.publicKeys(rekor),
    signer: certificate.der,
  });
  claims.time = time;
  checkChain(certificate, {
    anchors: context.keys.certificates(trust.ca),
    intermediates: chainIntermediates(attachment.annotations.get(COSIGN_ANNOTATION.chain)),
    time,
  });
  checkOidcIssuer(certificate, trust.oidcIssuer);
  checkEmail(certificate, trust.subjectEmail);
  claims.signer = trust.subjectEmail;
  return certificate.key;
}

/** The key of a certificate by one's own authorities, which is valid now. */
function pkiKey(signed: Signed, requirement: SigstoreSigned): PublicKey {
  const { attachment, context, claims } = signed;
  const { trust } = requirement;
  if (trust.kind !== "pki") throw new PolicyError("no certificate authorities given");
  const certificate = leafCertificate(signed);
  const { intermediates, roots, subjectEmail, subjectHostname } = trust;
  checkChain(certificate, {
    anchors: context.keys.certificates(roots),
    intermediates: [
      ...context.keys.certificates(intermediates),
      ...chainIntermediates(attachment.annotations.get(COSIGN_ANNOTATION.chain)),
    ],
    time: context.now,
  });
  if (subjectEmail !== undefined) checkEmail(certificate, subjectEmail);
  if (subjectHostname !== undefined) checkHostname(certificate, subjectHostname);
  claims.signer = subjectEmail ?? subjectHostname ?? "";
  return certificate.key;
}

/** Checks that a certificate leads to an anchor. */
export function checkChain(
  certificate: Certificate,
  options: Parameters<typeof chainFault>[1],
): void {
  const fault = chainFault(certificate, options);
  if (fault !== undefined) throw new PolicyError(`verifying leaf certificate: ${fault}`);
}

/** What a signature that does not hold claims, only to be shown. */
function readUnverified(attachment: SigstoreAttachment, claims: Claims): void {
  try {
    const { reference, digest } = parsePayload(attachment.payload, "cosign");
    claims.identity = reference;
    claims.digest = digest;
  } catch (error) {
    // Then there is nothing to be shown.
    if (!(error instanceof FormatError)) throw error;
  }
}
