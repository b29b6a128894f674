/** The one door to OpenPGP: signatures by keys of a keyring (spec: ostree 9). */
import type * as OpenPgp from "npm:openpgp@6.3.0";
import { FormatError, toByteString } from "../base/mod.ts";

/** What came out of checking one signature. */
export type GpgStatus =
  | "good"
  | "bad"
  | "missing-key"
  | "expired-signature"
  | "expired-key"
  | "revoked-key"
  | "weak"
  | "unsupported"
  | "malformed";

/** The outcome for one signature. */
export interface GpgVerdict {
  /** What came out; only `good` counts. */
  readonly status: GpgStatus;
  /** Issuer's key id, 16 upper-case hex digits; empty when the signature is malformed. */
  readonly keyId: string;
  /** Fingerprint of the primary key in upper-case hex, when the keyring has it. */
  readonly fingerprint?: string;
  /** User id of the key, when the keyring has it. */
  readonly userId?: string;
  /** When the signature says it was made. */
  readonly created?: Date;
  /** Lines that describe the outcome, as OSTree writes them. */
  readonly lines: readonly string[];
}

/** How signatures are checked. */
export interface GpgVerifyOptions {
  /** The time at which keys and signatures must be valid. @default now */
  now?: Date;
}

/** Most bytes of one signature; real ones have below 2000. */
const MAX_SIGNATURE_SIZE = 64 * 1024;

/** Names of public key algorithms (RFC 9580, 9.1). */
const ALGORITHMS: Readonly<Record<number, string>> = {
  1: "RSA",
  3: "RSA",
  17: "DSA",
  19: "ECDSA",
  22: "EdDSA",
  27: "Ed25519",
  28: "Ed448",
};

/** Hash algorithms that signatures must not use: MD5, SHA-1, RIPEMD-160 (RFC 9580, 9.5). */
const WEAK_HASHES: ReadonlyMap<number, string> = new Map([
  [1, "MD5"],
  [2, "SHA1"],
  [3, "RIPEMD160"],
]);

/** The type of a signature over bytes as they are (RFC 9580, 5.2.1). */
const BINARY_SIGNATURE = 0;

const KEYBOX_MAGIC = "KBXf";
const KEYBOX_MAGIC_AT = 8;

/** Keys to check signatures with; presence in the keyring is trust. */
export class GpgKeyring {
  readonly #sources: readonly GpgKeyFile[];
  #keys: OpenPgp.Key[] | undefined;

  /**
   * A keyring of the keys in these files; they are parsed when first needed.
   *
   * @param sources binary keys, or armored ones, in any number each
   */
  constructor(sources: readonly GpgKeyFile[]) {
    this.#sources = sources;
  }

  /**
   * Fingerprints of the primary keys, upper-case hex.
   *
   * @throws {FormatError} when a file has no keys in it
   */
  async fingerprints(): Promise<string[]> {
    return (await this.#load()).map((key) => key.getFingerprint().toUpperCase());
  }

  /**
   * The keys in one binary file, without secret parts.
   *
   * @throws {FormatError} when a file has no keys in it
   */
  async toBytes(): Promise<Uint8Array<ArrayBuffer>> {
    const parts = (await this.#load()).map((key) => key.toPublic().write());
    const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  /**
   * Checks detached signatures.
   *
   * @param signatures binary signatures, each of one or several packets
   * @returns one verdict for each packet
   * @throws {FormatError} when a file of the keyring has no keys in it
   */
  async verify(
    data: Uint8Array,
    signatures: readonly Uint8Array[],
    options: GpgVerifyOptions = {},
  ): Promise<GpgVerdict[]> {
    const openpgp = await loadOpenPgp();
    const keys = await this.#load();
    const now = options.now ?? new Date();
    const out: GpgVerdict[] = [];
    for (const bytes of signatures) {
      const packets = await readPackets(openpgp, bytes);
      if (packets === undefined) out.push(malformed());
      for (const packet of packets ?? []) {
        out.push(await checkPacket({ openpgp, data, keys, now }, packet));
      }
    }
    return out;
  }

  async #load(): Promise<OpenPgp.Key[]> {
    if (this.#keys !== undefined) return this.#keys;
    const openpgp = await loadOpenPgp();
    const keys: OpenPgp.Key[] = [];
    for (const source of this.#sources) keys.push(...await readKeyFile(openpgp, source));
    return this.#keys = keys;
  }
}

/** A file with keys. */
export interface GpgKeyFile {
  /** Where it is from, for errors. */
  readonly name: string;
  /** Its content. */
  readonly bytes: Uint8Array;
}

let loading: Promise<typeof OpenPgp> | undefined;

/** The library is large, and most pulls have nothing to do with it. */
function loadOpenPgp(): Promise<typeof OpenPgp> {
  return loading ??= import("npm:openpgp@6.3.0");
}

async function readKeyFile(openpgp: typeof OpenPgp, file: GpgKeyFile): Promise<OpenPgp.Key[]> {
  const { bytes, name } = file;
  if (bytes.length === 0) return [];
  const head = toByteString(bytes.subarray(0, 12));
  if (head.slice(KEYBOX_MAGIC_AT) === KEYBOX_MAGIC) {
    throw new FormatError("openpgp key", `${name} is a keybox and no file of exported keys`);
  }
  try {
    if ((bytes[0]! & 0x80) !== 0) return await openpgp.readKeys({ binaryKeys: bytes });
    const keys: OpenPgp.Key[] = [];
    const blocks = toByteString(bytes).split(/(?=^-----BEGIN PGP )/m)
      .filter((text) => text.startsWith("-----BEGIN PGP "));
    for (const armoredKeys of blocks) keys.push(...await openpgp.readKeys({ armoredKeys }));
    if (keys.length > 0) return keys;
  } catch (cause) {
    // The library throws errors of any kind for bytes it cannot parse.
    throw new FormatError("openpgp key", `Invalid OpenPGP keys in ${name}`, { cause });
  }
  throw new FormatError("openpgp key", `No OpenPGP keys in ${name}`);
}

/** The signature packets; `undefined` when there are none to be read. */
async function readPackets(
  openpgp: typeof OpenPgp,
  bytes: Uint8Array,
): Promise<OpenPgp.SignaturePacket[] | undefined> {
  if (bytes.length === 0 || bytes.length > MAX_SIGNATURE_SIZE) return undefined;
  try {
    const { packets } = await openpgp.readSignature({ binarySignature: bytes });
    const found = [...packets].filter((packet) => packet instanceof openpgp.SignaturePacket);
    return found.length === 0 ? undefined : found as OpenPgp.SignaturePacket[];
  } catch {
    // The library throws errors of any kind for bytes it cannot parse: no signature in any case.
    return undefined;
  }
}

function malformed(): GpgVerdict {
  return { status: "malformed", keyId: "", lines: ["Malformed OpenPGP signature"] };
}

interface Check {
  readonly openpgp: typeof OpenPgp;
  readonly data: Uint8Array;
  readonly keys: readonly OpenPgp.Key[];
  readonly now: Date;
}

async function checkPacket(
  check: Check,
  packet: OpenPgp.SignaturePacket,
): Promise<GpgVerdict> {
  const created = packet.created;
  if (created === null || !Number.isFinite(created.getTime())) return malformed();
  const issuer = packet.issuerKeyID as unknown as OpenPgp.KeyID;
  const keyId = issuer.toHex().toUpperCase();
  const algorithm = ALGORITHMS[packet.publicKeyAlgorithm ?? 0] ?? "unknown";
  const made = `Signature made ${formatDate(created)} using ${algorithm} key ID ${keyId}`;
  const verdict = (status: GpgStatus, ...lines: string[]): GpgVerdict => ({
    status,
    keyId,
    created,
    lines: [made, ...lines],
  });
  if (packet.signatureType !== BINARY_SIGNATURE) {
    return verdict("unsupported", `Can't check signature: type ${packet.signatureType}`);
  }
  const weak = WEAK_HASHES.get(packet.hashAlgorithm ?? 0);
  if (weak !== undefined) {
    return verdict("weak", `Can't check signature: insecure hash algorithm ${weak}`);
  }
  let worst: GpgVerdict | undefined;
  // Keyrings may hold the same key several times, of which one may be out of date.
  for (const key of check.keys) {
    if (key.getKeys(issuer).length === 0) continue;
    const result = await checkWithKey(check, packet, key);
    const fingerprint = key.getFingerprint().toUpperCase();
    const userId = key.getUserIDs()[0] ?? "";
    const full = {
      ...verdict(result.status, ...result.lines.map((line) => line.replace("%s", () => userId))),
      fingerprint,
      userId,
    };
    if (full.status === "good") return full;
    worst ??= full;
  }
  return worst ?? verdict("missing-key", "Can't check signature: public key not found");
}

interface Outcome {
  readonly status: GpgStatus;
  /** `%s` stands for the user id. */
  readonly lines: readonly string[];
}

async function checkWithKey(
  check: Check,
  packet: OpenPgp.SignaturePacket,
  key: OpenPgp.Key,
): Promise<Outcome> {
  const { now } = check;
  const primary = `Primary key ID ${key.getKeyID().toHex().toUpperCase()}`;
  const issuer = packet.issuerKeyID as unknown as OpenPgp.KeyID;
  const maker = key.getKeys(issuer)[0]!;
  const subkey = key.getKeyID().equals(issuer) ? undefined : maker;
  if (!await isMadeBy(check, packet, maker)) {
    return { status: "bad", lines: ['BAD signature from "%s"', primary] };
  }
  const lines = subkey === undefined ? [] : [primary];
  try {
    const revoked = await key.isRevoked(undefined, undefined, now) ||
      (subkey instanceof check.openpgp.Subkey &&
        await subkey.isRevoked(undefined as never, undefined as never, now));
    if (revoked) {
      return { status: "revoked-key", lines: ['Signature from "%s"', ...lines, "Key revoked"] };
    }
    const expiries = [
      await key.getExpirationTime(),
      subkey instanceof check.openpgp.Subkey ? await subkey.getExpirationTime(now) : Infinity,
    ];
    for (const expiry of expiries) {
      if (!(expiry instanceof Date) || expiry > now) continue;
      const expired = `Key expired ${formatDate(expiry)}`;
      return { status: "expired-key", lines: ['Expired signature from "%s"', ...lines, expired] };
    }
    const end = packet.getExpirationTime();
    if (end instanceof Date && end <= now) {
      const expired = `Signature expired ${formatDate(end)}`;
      return {
        status: "expired-signature",
        lines: ['Expired signature from "%s"', ...lines, expired],
      };
    }
    // Everything else that makes a key unfit for signatures, such as a missing cross-signature.
    // As it is now: a key that was renewed has lost its state of when the signature was made.
    await key.getSigningKey(issuer, now);
    if (packet.created! < maker.getCreationTime()) throw new Error("key is newer than signature");
  } catch (error) {
    // The library explains with errors of any kind why a key is not to be used.
    const reason = error instanceof Error ? error.message : String(error);
    const message = `Can't check signature: key not usable: ${reason.slice(0, 200)}`;
    return { status: "unsupported", lines: [...lines, message] };
  }
  return { status: "good", lines: ['Good signature from "%s"', ...lines] };
}

/** Whether a key made a signature over the data, whatever the time and the state of the key. */
async function isMadeBy(
  check: Check,
  packet: OpenPgp.SignaturePacket,
  key: OpenPgp.Key | OpenPgp.Subkey,
): Promise<boolean> {
  const { openpgp, data } = check;
  const config = {
    ...openpgp.config,
    rejectMessageHashAlgorithms: new Set<OpenPgp.enums.hash>(WEAK_HASHES.keys()),
  };
  const [literal] = (await openpgp.createMessage({ binary: data })).packets;
  try {
    // At its own date, so that only expiry within the same second could matter here.
    const made = new Date(packet.created!);
    await packet.verify(key.keyPacket, BINARY_SIGNATURE, literal!, made, true, config);
    return true;
  } catch {
    // The library throws errors of any kind: it is not a good signature in any case.
    return false;
  }
}

/** A date as OSTree writes it, in UTC: `Sat Nov 21 07:37:24 2026`. */
function formatDate(date: Date): string {
  const [day, dayOfMonth, month, year, time] = date.toUTCString().replace(",", "").split(" ");
  return `${day} ${month} ${dayOfMonth} ${time} ${year}`;
}
