/** Secret ed25519 keys, for signing (spec: ostree 9.2). */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { FormatError } from "../base/mod.ts";
import { decodeBase64, readKeyFile } from "../signature/mod.ts";
import { Variant } from "./variant.ts";

/** Bytes of a seed, and of a public key. */
const KEY_SIZE = 32;
/** What stands before the seed in PKCS #8. */
const PKCS8_HEAD = "302e020100300506032b657004220420";

/** A secret key. */
export class SecretKey {
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
  }

  /**
   * Parses a key as OSTree writes it: base64 of the seed, with or without the public key after it.
   *
   * @throws {FormatError} when it is none, or its public key is another's
   */
  static parse(text: string): SecretKey {
    const bytes = decodeBase64(text.trim());
    if (bytes === undefined || ![KEY_SIZE, 2 * KEY_SIZE].includes(bytes.length)) {
      throw new FormatError("secret key", "Invalid ed25519 secret key");
    }
    const head = Buffer.from(PKCS8_HEAD, "hex");
    const der = Buffer.concat([head, bytes.subarray(0, KEY_SIZE)]);
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const own = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-KEY_SIZE);
    if (bytes.length > KEY_SIZE && !own.equals(bytes.subarray(KEY_SIZE))) {
      throw new FormatError("secret key", "Public half of the ed25519 key does not belong to it");
    }
    return new SecretKey(key);
  }

  /**
   * The key that an argument names: `ed25519:` and the key in base64, or a file with it.
   *
   * @throws {FormatError} when there is no such key
   */
  static fromArgument(text: string): SecretKey {
    const value = /^ed25519:(.*)$/s.exec(text)?.[1];
    // The text itself is secret, so it is not shown.
    if (value === undefined) throw new FormatError("secret key", "Expected ed25519:KEY or FILE");
    const inline = value.replace(/^inline:/, "");
    if (decodeBase64(inline)?.length === 2 * KEY_SIZE) return SecretKey.parse(inline);
    const path = value.replace(/^file:/, "");
    const bytes = readKeyFile(path);
    if (bytes === undefined) throw new FormatError("secret key", `No such key file: ${path}`);
    return SecretKey.parse(new TextDecoder().decode(bytes));
  }

  /** Signatures over data as detached metadata and deltas hold them. */
  signatures(data: Uint8Array): [string, Variant][] {
    return [["ostree.sign.ed25519", new Variant("aay", [new Uint8Array(this.sign(data))])]];
  }

  /** The signature over data. */
  sign(data: Uint8Array): Uint8Array {
    return sign(null, data, this.#key);
  }
}
