/** Whether a key of a keyring made an OpenPGP signature, and may have (spec: ostree 9, trust 6). */
import type { OpenPgp } from "./openpgp.ts";

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

/** The verdict on bytes that are no signature. */
export function malformed(): GpgVerdict {
  return { status: "malformed", keyId: "", lines: ["Malformed OpenPGP signature"] };
}

/** What signatures are checked against. */
export interface Check {
  /** The library. */
  readonly openpgp: typeof OpenPgp;
  /** What was signed. */
  readonly data: Uint8Array;
  /** The keys that count. */
  readonly keys: readonly OpenPgp.Key[];
  /** The time at which keys and signatures must be valid. */
  readonly now: Date;
}

/** Checks one signature packet. */
export async function checkPacket(
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
  // Two keys may have the same id.
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
