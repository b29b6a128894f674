/** Checking the signature in a sigstore bundle (spec: trust 8). */
import { ComposefsError, PolicyError } from "../base/mod.ts";
import { Certificate, type PublicKey } from "../signature/mod.ts";
import { envelopeBytes, parseBundle, type SigstoreBundle } from "./bundle.ts";
import { checkEmail, checkHostname, checkOidcIssuer } from "./certificate_identity.ts";
import type { CheckContext } from "./check_context.ts";
import type { SigstoreSigned } from "./policy.ts";
import { checkEnvelopePromise } from "./rekor.ts";
import type { BundleSignature } from "./signature.ts";
import { checkChain, keyId, makerOf } from "./sigstore.ts";
import { checkImageStatement, parseStatement, STATEMENT_PAYLOAD } from "./statement.ts";
import { type Claims, type SignatureVerdict, signatureVerdict } from "./verdict.ts";

/** Checks one bundle for one demand. */
export function checkBundleSignature(
  signature: BundleSignature,
  requirement: SigstoreSigned,
  context: CheckContext,
): SignatureVerdict {
  const claims: Claims = {};
  const checking = { kind: "bundle", place: signature.place, claims } as const;
  try {
    check(parseBundle(signature.bytes), requirement, { context, claims });
    return signatureVerdict(checking, undefined);
  } catch (error) {
    // Whatever is wrong with it is the reason why it does not count.
    if (!(error instanceof ComposefsError)) throw error;
    return signatureVerdict(checking, error.message);
  }
}

function check(
  bundle: SigstoreBundle,
  requirement: SigstoreSigned,
  options: { context: CheckContext; claims: Claims },
): void {
  const { context, claims } = options;
  const { envelope } = bundle;
  if (envelope === undefined || envelope.payloadType !== STATEMENT_PAYLOAD) {
    throw new PolicyError("bundle is no signature of an image: it has no in-toto statement");
  }
  verifyEnvelope(bundle, requirement, options);
  claims.verified = true;
  const statement = parseStatement(envelope.payload);
  const [subject] = statement.subjects;
  if (subject !== undefined) claims.digest = `sha256:${subject}`;
  checkImageStatement(statement, context.manifest);
  checkBundleIdentity(requirement, context);
  const { name } = context.image;
  if (name !== undefined) claims.identity = name.repository;
}

/** Nothing in a bundle names the image: only where it was found can stand for that. */
function checkBundleIdentity(requirement: SigstoreSigned, context: CheckContext): void {
  const { identity } = requirement;
  const { name } = context.image;
  const repository = context.bundleIdentity === "repository";
  if (repository && identity.type === "matchRepository" && name !== undefined) return;
  throw new PolicyError(
    "bundle signatures carry no image name; only matchRepository together with " +
      "--bundle-identity=repository accepts them",
  );
}

/** Checks the signature over the envelope with the keys that the demand names. */
function verifyEnvelope(
  bundle: SigstoreBundle,
  requirement: SigstoreSigned,
  options: { context: CheckContext; claims: Claims },
): void {
  const { context, claims } = options;
  const { trust } = requirement;
  if (trust.kind === "keys") {
    const { key, time } = makerOf(context.keys.publicKeys(trust.keys), (key) => {
      const time = logTime(bundle, { requirement, context, signer: key.spki });
      verifyWith(bundle, key);
      return time;
    });
    claims.signer = keyId(key);
    if (time !== undefined) claims.time = time;
    return;
  }
  if (bundle.certificate === undefined) {
    throw new PolicyError("bundle carries no certificate");
  }
  const certificate = Certificate.fromDer(bundle.certificate);
  const chain = bundle.chain.map((der) => Certificate.fromDer(der));
  const time = logTime(bundle, { requirement, context, signer: certificate.der });
  if (time !== undefined) claims.time = time;
  const policyChain = trust.kind === "pki" ? context.keys.certificates(trust.intermediates) : [];
  if (trust.kind === "fulcio" && time === undefined) {
    throw new PolicyError("bundle carries no log entry");
  }
  checkChain(certificate, {
    anchors: context.keys.certificates(trust.kind === "pki" ? trust.roots : trust.ca),
    intermediates: [...policyChain, ...chain],
    time: trust.kind === "fulcio" && time !== undefined ? time : context.now,
  });
  if (trust.kind === "fulcio") checkOidcIssuer(certificate, trust.oidcIssuer);
  if (trust.subjectEmail !== undefined) checkEmail(certificate, trust.subjectEmail);
  if (trust.kind === "pki" && trust.subjectHostname !== undefined) {
    checkHostname(certificate, trust.subjectHostname);
  }
  verifyWith(bundle, certificate.key);
  claims.signer = trust.subjectEmail ?? (trust.kind === "pki" ? trust.subjectHostname : "") ?? "";
}

/** When the log that is asked for had the signature; `undefined` when none is asked for. */
function logTime(
  bundle: SigstoreBundle,
  options: { requirement: SigstoreSigned; context: CheckContext; signer: Uint8Array },
): Date | undefined {
  const { requirement, context, signer } = options;
  if (requirement.rekor === undefined) return undefined;
  const { promises } = bundle;
  const [promise] = promises;
  if (promises.length !== 1) {
    throw new PolicyError(`bundle carries ${promises.length} log entries where one is expected`);
  }
  if (promise === undefined) {
    throw new PolicyError("log entry without a signed entry timestamp is not supported");
  }
  const { envelope } = bundle;
  const logKeys = context.keys.publicKeys(requirement.rekor);
  return checkEnvelopePromise(promise, { logKeys, signer, ...envelope! });
}

function verifyWith(bundle: SigstoreBundle, key: PublicKey): void {
  const { envelope } = bundle;
  if (envelope !== undefined && key.verify(envelopeBytes(envelope), envelope.signature)) return;
  throw new PolicyError(
    "cryptographic signature verification failed: invalid signature when validating the payload",
  );
}
