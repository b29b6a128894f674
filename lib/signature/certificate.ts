/** X.509 certificates (RFC 5280), as far as signers of images have them (spec: trust 8, 9). */
import { displayByteString, FormatError, toByteString, toHex } from "../base/mod.ts";
import { DER, DerReader, type DerValue, formatOid, parseDerTime } from "./der.ts";
import { pemBlocks } from "./pem.ts";
import { PublicKey } from "./public_key.ts";

/** Extensions that are understood. */
export const EXTENSION = {
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  extendedKeyUsage: "2.5.29.37",
} as const;

/** Extended key usages. */
export const KEY_PURPOSE = {
  any: "2.5.29.37.0",
  codeSigning: "1.3.6.1.5.5.7.3.3",
} as const;

/** Signature algorithms, with the kind of key and the hash. */
const SIGNATURE_ALGORITHMS: ReadonlyMap<
  string,
  { type: string; hash?: "sha256" | "sha384" | "sha512" }
> = new Map([
  ["1.2.840.10045.4.3.2", { type: "ec", hash: "sha256" }],
  ["1.2.840.10045.4.3.3", { type: "ec", hash: "sha384" }],
  ["1.2.840.10045.4.3.4", { type: "ec", hash: "sha512" }],
  ["1.2.840.113549.1.1.11", { type: "rsa", hash: "sha256" }],
  ["1.2.840.113549.1.1.12", { type: "rsa", hash: "sha384" }],
  ["1.2.840.113549.1.1.13", { type: "rsa", hash: "sha512" }],
  ["1.3.101.112", { type: "ed25519" }],
]);

/** Tags of the names in an alternative name. */
const NAME_TAGS = { email: 0x81, dns: 0x82, uri: 0x86 } as const;

/** Bit of the key usage that lets a key sign certificates. */
const KEY_CERT_SIGN = 5;

/** An extension. */
interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** Names that a certificate stands for. */
export interface AlternativeNames {
  /** E-mail addresses. */
  readonly emails: readonly string[];
  /** Hosts. */
  readonly hosts: readonly string[];
  /** URIs. */
  readonly uris: readonly string[];
}

/** Largest certificate, in bytes. */
const MAX_SIZE = 64 * 1024;

/** A certificate. */
export class Certificate {
  /** All of it, DER. */
  readonly der: Uint8Array;
  /** Name of who issued it, DER in hex. */
  readonly issuer: string;
  /** Name of whom it is for, DER in hex. */
  readonly subject: string;
  /** First moment of its validity. */
  readonly notBefore: Date;
  /** Last moment of its validity. */
  readonly notAfter: Date;
  /** Its key. */
  readonly key: PublicKey;
  readonly #signed: Uint8Array;
  readonly #algorithm: string;
  readonly #signature: Uint8Array;
  readonly #extensions: ReadonlyMap<string, Extension>;

  private constructor(der: Uint8Array) {
    this.der = der;
    const outer = new DerReader(der);
    const whole = outer.enter(DER.sequence);
    outer.end();
    const body = whole.read(DER.sequence);
    this.#signed = body.whole;
    const algorithm = whole.read(DER.sequence);
    this.#algorithm = formatOid(new DerReader(algorithm.content).read(DER.oid).content);
    this.#signature = bitString(whole.read(DER.bitString));
    whole.end();
    const fields = new DerReader(body.content);
    fields.optional(DER.context0); // version
    fields.read(DER.integer); // serial number
    const inner = fields.read(DER.sequence);
    if (toHex(inner.whole) !== toHex(algorithm.whole)) {
      throw new FormatError("certificate", "Certificate with two signature algorithms");
    }
    this.issuer = toHex(fields.read(DER.sequence).whole);
    const validity = fields.enter(DER.sequence);
    this.notBefore = parseDerTime(validity.read());
    this.notAfter = parseDerTime(validity.read());
    validity.end();
    this.subject = toHex(fields.read(DER.sequence).whole);
    this.key = PublicKey.fromSpki(fields.read(DER.sequence).whole);
    fields.optional(DER.context1);
    fields.optional(DER.context2);
    this.#extensions = readExtensions(fields.optional(DER.context3));
    fields.end();
  }

  /**
   * The certificate in these bytes.
   *
   * @throws {FormatError} when there is none, or an extension is there twice
   */
  static fromDer(bytes: Uint8Array): Certificate {
    if (bytes.length > MAX_SIZE) throw new FormatError("certificate", "Certificate is too large");
    return new Certificate(bytes);
  }

  /**
   * The certificates in a PEM file.
   *
   * @throws {FormatError} when a block is none, or there are more than `max`
   */
  static listFromPem(text: string, options: { max: number }): Certificate[] {
    const blocks = pemBlocks(text);
    if (blocks.length > options.max) {
      throw new FormatError("certificate", `More than ${options.max} certificates`);
    }
    return blocks.map(({ label, bytes }) => {
      if (label === "CERTIFICATE") return Certificate.fromDer(bytes);
      throw new FormatError("certificate", `PEM block "${label}" is no certificate`);
    });
  }

  /** The content of an extension; `undefined` when it does not have it. */
  extension(oid: string): Uint8Array | undefined {
    return this.#extensions.get(oid)?.value;
  }

  /** Critical extensions that are not understood. */
  get unknownCritical(): string[] {
    const known: readonly string[] = Object.values(EXTENSION);
    return [...this.#extensions].filter(([oid, { critical }]) => critical && !known.includes(oid))
      .map(([oid]) => oid);
  }

  /** Whether it may issue others, and how many may come between it and a signer's. */
  get authority(): { readonly ca: boolean; readonly pathLength: number } {
    const bytes = this.extension(EXTENSION.basicConstraints);
    if (bytes === undefined) return { ca: false, pathLength: 0 };
    const reader = new DerReader(bytes).enter(DER.sequence);
    const ca = isTrue(reader.optional(DER.boolean));
    const limit = reader.optional(DER.integer)?.content;
    reader.end();
    const [pathLength = Infinity] = limit ?? [];
    return { ca, pathLength: (limit?.length ?? 1) > 1 ? Infinity : pathLength };
  }

  /** Whether its key may sign certificates; without the extension a key may do anything. */
  get signsCertificates(): boolean {
    const bytes = this.extension(EXTENSION.keyUsage);
    if (bytes === undefined) return true;
    const [first = 0] = bitString(new DerReader(bytes).read(DER.bitString), { padded: true });
    return (first & (0x80 >> KEY_CERT_SIGN)) !== 0;
  }

  /** What its key is for; `undefined` when that is not said, so that it is for anything. */
  get purposes(): readonly string[] | undefined {
    const bytes = this.extension(EXTENSION.extendedKeyUsage);
    if (bytes === undefined) return undefined;
    const reader = new DerReader(bytes).enter(DER.sequence);
    const purposes: string[] = [];
    while (!reader.done) purposes.push(formatOid(reader.read(DER.oid).content));
    return purposes;
  }

  /** The names that it stands for. */
  get names(): AlternativeNames {
    const emails: string[] = [];
    const hosts: string[] = [];
    const uris: string[] = [];
    const bytes = this.extension(EXTENSION.subjectAltName);
    const reader = bytes === undefined ? undefined : new DerReader(bytes).enter(DER.sequence);
    while (reader !== undefined && !reader.done) {
      const { tag, content } = reader.read();
      const text = displayByteString(toByteString(content));
      if (tag === NAME_TAGS.email) emails.push(text);
      else if (tag === NAME_TAGS.dns) hosts.push(text);
      else if (tag === NAME_TAGS.uri) uris.push(text);
    }
    return { emails, hosts, uris };
  }

  /** Whether the certificate is valid at a time; both ends count. */
  isValidAt(time: Date): boolean {
    return this.notBefore <= time && time <= this.notAfter;
  }

  /** Whether `issuer`'s key signed it. */
  isSignedBy(issuer: Certificate): boolean {
    const algorithm = SIGNATURE_ALGORITHMS.get(this.#algorithm);
    if (algorithm === undefined || issuer.key.type !== algorithm.type) return false;
    const { hash } = algorithm;
    return issuer.key.verify(this.#signed, this.#signature, hash === undefined ? {} : { hash });
  }
}

function readExtensions(value: DerValue | undefined): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  if (value === undefined) return extensions;
  const outer = new DerReader(value.content);
  const list = outer.enter(DER.sequence);
  outer.end();
  while (!list.done) {
    const fields = list.enter(DER.sequence);
    const oid = formatOid(fields.read(DER.oid).content);
    const critical = isTrue(fields.optional(DER.boolean));
    const { content } = fields.read(DER.octetString);
    fields.end();
    if (extensions.has(oid)) {
      throw new FormatError("certificate", `Certificate has extension ${oid} twice`);
    }
    extensions.set(oid, { critical, value: content });
  }
  return extensions;
}

/** A truth value that is false when it is missing; there is one way to write each in DER. */
function isTrue(value: DerValue | undefined): boolean {
  if (value === undefined) return false;
  const { content } = value;
  if (content.length === 1 && (content[0] === 0 || content[0] === 0xff)) return content[0] === 0xff;
  throw new FormatError("certificate", "Certificate with a truth value that is none");
}

/** The bytes of a bit string; unless it may be padded, of whole bytes. */
function bitString(value: DerValue, options: { padded?: boolean } = {}): Uint8Array {
  const [unused = 8] = value.content;
  if (unused > 7 || (unused > 0 && options.padded !== true)) {
    throw new FormatError("certificate", "Certificate with a bit string of no whole bytes");
  }
  return value.content.subarray(1);
}
