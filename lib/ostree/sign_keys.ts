/** Public keys of OSTree's own signatures, ed25519 and spki (spec: ostree 9.2). */
import { FormatError, toHex } from "../base/mod.ts";
import { decodeBase64, PublicKey } from "../signature/mod.ts";

/** Kinds of signatures beside GPG, by OSTree's names. */
export const SIGN_TYPES = ["ed25519", "spki"] as const;

/** A kind of signature beside GPG. */
export type SignType = (typeof SIGN_TYPES)[number];

/** Bytes of an ed25519 signature. */
export const ED25519_SIGNATURE_SIZE = 64;

/** Most keys in one file. */
const MAX_KEYS = 256;

/** Whether `text` names a kind of signature. */
export function isSignType(text: string): text is SignType {
  return (SIGN_TYPES as readonly string[]).includes(text);
}

/** A public key. */
export class SignKey {
  /** Kind of its signatures. */
  readonly type: SignType;
  /** The key in hex: the raw 32 bytes of ed25519, all of an spki key. */
  readonly id: string;
  readonly #key: PublicKey;

  private constructor(type: SignType, id: string, key: PublicKey) {
    this.type = type;
    this.id = id;
    this.#key = key;
  }

  /**
   * The key with these bytes.
   *
   * @param bytes 32 bytes for ed25519, a DER SubjectPublicKeyInfo for spki
   * @throws {FormatError} when they are no such key
   */
  static fromBytes(type: SignType, bytes: Uint8Array): SignKey {
    const key = type === "spki" ? PublicKey.fromSpki(bytes) : PublicKey.fromEd25519(bytes);
    return new SignKey(type, toHex(bytes), key);
  }

  /** Whether `signature` is this key's over `data`; false also for one of the wrong size. */
  verify(data: Uint8Array, signature: Uint8Array): boolean {
    if (this.type === "ed25519" && signature.length !== ED25519_SIGNATURE_SIZE) return false;
    return this.#key.verify(data, signature);
  }
}

/**
 * Parses a key in base64.
 *
 * @throws {FormatError} when it is no base64 or no key
 */
export function parseSignKey(type: SignType, text: string): SignKey {
  const bytes = decodeBase64(text);
  if (bytes === undefined) {
    throw new FormatError("public key", `Invalid ${type} public key '${text.slice(0, 80)}'`);
  }
  return SignKey.fromBytes(type, bytes);
}

/**
 * Parses a file of keys: one in base64 a line; empty lines and lines with `#` are skipped. For spki
 * the file may hold PEM blocks instead.
 *
 * @throws {FormatError} when a line is no key, or there are too many
 */
export function parseSignKeys(type: SignType, text: string): SignKey[] {
  const lines = type === "spki" && text.includes("-----BEGIN") ? pemBlocks(text) : text.split("\n")
    .map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
  if (lines.length > MAX_KEYS) {
    throw new FormatError("public key", `More than ${MAX_KEYS} keys in a file`);
  }
  return lines.map((line) => parseSignKey(type, line));
}

function pemBlocks(text: string): string[] {
  return text.split("-----BEGIN PUBLIC KEY-----").slice(1).map((part) => {
    const end = part.indexOf("-----END PUBLIC KEY-----");
    if (end < 0) throw new FormatError("public key", "PEM block without its end");
    return part.slice(0, end).replace(/\s+/g, "");
  });
}

/** Trusted and revoked keys. */
export interface SignKeys {
  /** Keys whose signatures count. */
  readonly trusted: readonly SignKey[];
  /** Ids of keys whose signatures do not count even when they are trusted too. */
  readonly revoked: ReadonlySet<string>;
}

/** No keys. */
export const NO_SIGN_KEYS: SignKeys = { trusted: [], revoked: new Set() };
