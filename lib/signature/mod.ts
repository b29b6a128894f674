/**
 * Signatures and the keys that made them: OpenPGP, ECDSA, RSA, Ed25519, and chains of certificates.
 *
 * @example Check a signature with a key in a PEM file
 * ```ts
 * import { PublicKey } from "./mod.ts";
 * import { generateKeyPairSync, sign } from "node:crypto";
 * import assert from "node:assert/strict";
 *
 * const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
 * const data = new TextEncoder().encode("what is signed");
 * const signature = sign("sha256", data, privateKey);
 * const key = PublicKey.fromPem(publicKey.export({ type: "spki", format: "pem" }) as string);
 * assert.equal(key.verify(data, signature), true);
 * ```
 *
 * @module
 */
export { decodeBase64 } from "./base64.ts";
export { type GpgKeyFile, GpgKeyring, type GpgVerifyOptions } from "./gpg.ts";
export type { GpgStatus, GpgVerdict } from "./gpg_check.ts";
export { listKeyDirectory, readKeyFile } from "./key_files.ts";
export { type PemBlock, pemBlocks, singlePemBlock } from "./pem.ts";
export { ED25519_KEY_SIZE, PublicKey } from "./public_key.ts";
export { type AlternativeNames, Certificate, EXTENSION, KEY_PURPOSE } from "./certificate.ts";
export { chainFault, type ChainOptions, MAX_CHAIN } from "./certificate_chain.ts";
export { DER, DerReader, type DerValue, formatOid } from "./der.ts";
