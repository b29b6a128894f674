/** Whether a certificate is that of the signer whom a policy asks for (spec: trust 8). */
import { displayByteString, PolicyError, toByteString } from "../base/mod.ts";
import { type Certificate, DER, DerReader } from "../signature/mod.ts";

/** Where Fulcio writes who vouched for the e-mail address: as it is, and as DER. */
const ISSUER = { raw: "1.3.6.1.4.1.57264.1.1", der: "1.3.6.1.4.1.57264.1.8" } as const;

/**
 * Checks who vouched for the address in a certificate of Fulcio's.
 *
 * @throws {PolicyError} when it was somebody else, or it is not said in one way
 */
export function checkOidcIssuer(certificate: Certificate, wanted: string): void {
  const raw = certificate.extension(ISSUER.raw);
  const packed = certificate.extension(ISSUER.der);
  const found: string[] = [];
  if (raw !== undefined) found.push(text(raw));
  if (packed !== undefined) {
    const reader = new DerReader(packed);
    found.push(text(reader.read(DER.utf8String).content));
    reader.end();
  }
  const [issuer] = found;
  if (issuer === undefined) {
    throw new PolicyError("Fulcio certificate is missing the issuer extension");
  }
  if (found.some((one) => one !== issuer)) {
    throw new PolicyError("Fulcio certificate has two different issuers");
  }
  if (issuer !== wanted) {
    throw new PolicyError(`Unexpected Fulcio OIDC issuer ${JSON.stringify(issuer)}`);
  }
}

/**
 * Checks that a certificate is for an e-mail address, letter by letter.
 *
 * @throws {PolicyError} when it is not
 */
export function checkEmail(certificate: Certificate, wanted: string): void {
  const { emails } = certificate.names;
  if (emails.includes(wanted)) return;
  const got = JSON.stringify(emails);
  throw new PolicyError(`Required email ${JSON.stringify(wanted)} not found (got ${got})`);
}

/**
 * Checks that a certificate is for a host, as TLS does it.
 *
 * @throws {PolicyError} when it is not
 */
export function checkHostname(certificate: Certificate, wanted: string): void {
  const host = wanted.toLowerCase().replace(/\.$/, "");
  const { hosts } = certificate.names;
  if (hosts.some((pattern) => matchesHost(pattern.toLowerCase(), host))) return;
  const got = hosts.length === 0 ? "none" : hosts.join(", ");
  throw new PolicyError(
    `Unexpected subject hostname: certificate is valid for ${got}, not ${wanted}`,
  );
}

function matchesHost(pattern: string, host: string): boolean {
  const [patterns, labels] = [pattern.split("."), host.split(".")];
  if (patterns.length !== labels.length || labels.includes("") || host.includes("*")) return false;
  return patterns.every((part, i) => part === labels[i] || (i === 0 && part === "*"));
}

function text(bytes: Uint8Array): string {
  return displayByteString(toByteString(bytes));
}
