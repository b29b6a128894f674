/** Public keys outside of OpenPGP: ECDSA, RSA, Ed25519 (spec: trust 8, ostree 9.2). */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { FormatError, fromHex } from "../base/mod.ts";
import { pemBlocks } from "./pem.ts";

/** Bytes of an ed25519 public key. */
export const ED25519_KEY_SIZE = 32;

/** SubjectPublicKeyInfo of an ed25519 key up to the key itself (RFC 8410). */
const ED25519_SPKI = fromHex("302a300506032b6570032100");

/** Smallest RSA key that counts for anything, in bits. */
const MIN_RSA_BITS = 2048;

/** Kinds of keys that sign images. */
const SIGNING_TYPES: readonly string[] = ["ec", "rsa", "ed25519"];

/** Curves whose signatures are checked; Deno cannot do it for P-521. */
const CURVES: readonly string[] = ["prime256v1", "secp384r1"];

/** Labels of the PEM blocks that hold keys, with the structure that is in them. */
const PEM_LABELS: ReadonlyMap<string, "spki" | "pkcs1"> = new Map([
  ["PUBLIC KEY", "spki"],
  ["RSA PUBLIC KEY", "pkcs1"],
]);

/** A public key. */
export class PublicKey {
  /** Its kind, by the name the crypto library has for it. */
  readonly type: string;
  readonly #key: KeyObject;
  /** Hash of the data; the Edwards curves have one of their own. */
  readonly #hash: "sha256" | null;

  private constructor(key: KeyObject) {
    this.#key = key;
    this.type = key.asymmetricKeyType ?? "unknown";
    // Explicitly, as Deno has no default and refuses to choose one.
    this.#hash = this.type.startsWith("ed") ? null : "sha256";
  }

  /**
   * The key with these bytes.
   *
   * @param bytes a DER SubjectPublicKeyInfo
   * @throws {FormatError} when they are no such key
   */
  static fromSpki(bytes: Uint8Array): PublicKey {
    return PublicKey.#fromDer(bytes, "spki");
  }

  /**
   * The ed25519 key with these bytes.
   *
   * @throws {FormatError} when there are not 32
   */
  static fromEd25519(bytes: Uint8Array): PublicKey {
    if (bytes.length !== ED25519_KEY_SIZE) {
      throw new FormatError(
        "public key",
        `Invalid ed25519 public key: expected ${ED25519_KEY_SIZE} bytes, got ${bytes.length} bytes`,
      );
    }
    return PublicKey.fromSpki(new Uint8Array([...ED25519_SPKI, ...bytes]));
  }

  /**
   * The one key in a PEM file, of a kind that signs images (spec: trust 8).
   *
   * @throws {FormatError} when there is no key in it, or more than one, or one of another kind
   */
  static fromPem(text: string): PublicKey {
    const blocks = pemBlocks(text);
    const [block] = blocks;
    if (block === undefined || blocks.length > 1) {
      const message = `expected one PEM block with a public key, found ${blocks.length}`;
      throw new FormatError("public key", message);
    }
    const structure = PEM_LABELS.get(block.label);
    if (structure === undefined) {
      throw new FormatError(
        "public key",
        `PEM block "${block.label.slice(0, 40)}" is no public key`,
      );
    }
    const key = PublicKey.#fromDer(block.bytes, structure);
    if (!SIGNING_TYPES.includes(key.type)) {
      throw new FormatError("public key", `Public keys of type ${key.type} are not supported`);
    }
    const { modulusLength: bits, namedCurve } = key.#key.asymmetricKeyDetails ?? {};
    if (namedCurve !== undefined && !CURVES.includes(namedCurve)) {
      throw new FormatError("public key", `Public keys on curve ${namedCurve} are not supported`);
    }
    if (bits !== undefined && bits < MIN_RSA_BITS) {
      throw new FormatError("public key", `RSA key of ${bits} bits, fewer than ${MIN_RSA_BITS}`);
    }
    return key;
  }

  static #fromDer(bytes: Uint8Array, type: "spki" | "pkcs1"): PublicKey {
    try {
      return new PublicKey(createPublicKey({ key: bytes as never, format: "der", type }));
    } catch (cause) {
      // The crypto library has errors of several kinds for bytes that are no key.
      throw new FormatError("public key", "Invalid public key", { cause });
    }
  }

  /** The key as DER SubjectPublicKeyInfo, as the crypto library writes it. */
  get spki(): Uint8Array {
    return this.#key.export({ type: "spki", format: "der" });
  }

  /**
   * Whether `signature` is this key's over `data`: ECDSA in DER, RSA in PKCS#1 v1.5, both with the
   * hash given; Ed25519 over the data itself.
   *
   * @param options `hash`: of ECDSA and RSA. default sha256
   */
  verify(
    data: Uint8Array,
    signature: Uint8Array,
    options: { hash?: "sha256" | "sha384" | "sha512" } = {},
  ): boolean {
    try {
      return verify(this.#hash && (options.hash ?? this.#hash), data, this.#key, signature);
    } catch {
      // Some crypto libraries throw for signatures that cannot be parsed: not valid either way.
      return false;
    }
  }
}
