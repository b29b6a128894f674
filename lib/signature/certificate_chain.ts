/** Whether a certificate leads to an anchor (RFC 5280, 6; spec: trust 8). */
import { type Certificate, EXTENSION, KEY_PURPOSE } from "./certificate.ts";

/** What a chain is checked against. */
export interface ChainOptions {
  /** Certificates that are trusted as they are. */
  readonly anchors: readonly Certificate[];
  /** Certificates that may come between. */
  readonly intermediates: readonly Certificate[];
  /** The time at which all of them must be valid. */
  readonly time: Date;
}

/** Most certificates of a chain. */
export const MAX_CHAIN = 16;

/** Most signatures of certificates that are checked in search of a chain. */
const MAX_CHECKS = 128;

/** A chain that is being built, from the signer's certificate upwards. */
interface Path {
  readonly certificate: Certificate;
  readonly below: Path | undefined;
  readonly length: number;
}

/**
 * Why a certificate leads to no anchor; `undefined` when it leads to one, by valid certificates
 * that may issue, all of them for signing code.
 *
 * @throws {FormatError} when a certificate on the way is malformed
 */
export function chainFault(leaf: Certificate, options: ChainOptions): string | undefined {
  const { anchors, time } = options;
  const own = certificateFault(leaf, time);
  if (own !== undefined) return own;
  const isAnchor = (one: Certificate) => anchors.some((anchor) => isSame(anchor, one));
  if (isAnchor(leaf)) return undefined;
  let checks = 0;
  let fault = "certificate signed by unknown authority";
  const open: Path[] = [{ certificate: leaf, below: undefined, length: 1 }];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const { certificate } = path;
    for (const issuer of [...options.intermediates, ...anchors]) {
      if (issuer.subject !== certificate.issuer || isOnPath(path, issuer)) continue;
      if (++checks > MAX_CHECKS) return "certificate chains are too intricate";
      if (!certificate.isSignedBy(issuer)) continue;
      const why = certificateFault(issuer, time) ?? issuerFault(issuer, path);
      if (why !== undefined) {
        fault = why;
        continue;
      }
      if (isAnchor(issuer)) return undefined;
      if (path.length + 1 >= MAX_CHAIN) return `more than ${MAX_CHAIN} certificates in a chain`;
      open.push({ certificate: issuer, below: path, length: path.length + 1 });
    }
  }
  return fault;
}

function isSame(a: Certificate, b: Certificate): boolean {
  return a === b || (a.der.length === b.der.length && a.der.every((byte, i) => byte === b.der[i]));
}

function isOnPath(path: Path, certificate: Certificate): boolean {
  for (let at: Path | undefined = path; at !== undefined; at = at.below) {
    if (isSame(at.certificate, certificate)) return true;
  }
  return false;
}

/** What is wrong with a certificate wherever in a chain it is. */
function certificateFault(certificate: Certificate, time: Date): string | undefined {
  if (!certificate.isValidAt(time)) {
    const { notBefore, notAfter } = certificate;
    return `certificate has expired or is not yet valid: ${time.toISOString()} is not between ` +
      `${notBefore.toISOString()} and ${notAfter.toISOString()}`;
  }
  const [unknown] = certificate.unknownCritical;
  if (unknown !== undefined) return `unhandled critical extension ${unknown}`;
  // Which names an authority may certify is not checked here: so it certifies none.
  if (certificate.extension(EXTENSION.nameConstraints) !== undefined) {
    return "certificates with name constraints are not supported";
  }
  const { purposes } = certificate;
  const { any, codeSigning } = KEY_PURPOSE;
  if (purposes !== undefined && !purposes.includes(codeSigning) && !purposes.includes(any)) {
    return "certificate specifies an incompatible key usage";
  }
  return undefined;
}

/** What is wrong with a certificate as the issuer of the one at the end of a path. */
function issuerFault(issuer: Certificate, path: Path): string | undefined {
  const { ca, pathLength } = issuer.authority;
  if (!ca || !issuer.signsCertificates) {
    return "issuer is not authorized to sign other certificates";
  }
  // Those between it and the signer's; the ones that issued themselves do not count.
  let between = 0;
  for (let at: Path | undefined = path; at?.below !== undefined; at = at.below) {
    if (at.certificate.issuer !== at.certificate.subject) between++;
  }
  return between > pathLength ? "too many intermediates for path length constraint" : undefined;
}
