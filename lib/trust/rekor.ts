/** Entries of the transparency log that come with a signature (spec: trust 8). */
import { createHash, timingSafeEqual } from "node:crypto";
import { FormatError, PolicyError, toHex } from "../base/mod.ts";
import { type PublicKey, singlePemBlock } from "../signature/mod.ts";
import { Faults } from "./faults.ts";
import { decodeGoBase64, Fields } from "./fields.ts";
import { JsonError, type JsonNode, jsonText, parseStrictJson } from "./json.ts";

/** What a log entry must be about. */
export interface LoggedSignature {
  /** Keys of the log, any of them. */
  readonly logKeys: readonly PublicKey[];
  /** What the signature was made with: DER of the certificate, or of the key. */
  readonly signer: Uint8Array;
  /** The signature. */
  readonly signature: Uint8Array;
  /** What was signed; of an envelope, what is in it. */
  readonly payload: Uint8Array;
}

/** A log's promise. */
export interface LogPromise {
  /** Signature by the log. */
  readonly signedEntryTimestamp: Uint8Array;
  /** The entry, in base64. */
  readonly body: string;
  /** When it was logged, in seconds since 1970, as it is written. */
  readonly integratedTime: string;
  /** Place in the log, as it is written. */
  readonly logIndex: string;
  /** The log, in hex. */
  readonly logId: string;
}

const WHAT = "Rekor SET";

/**
 * Reads the log's promise from the annotation that cosign makes.
 *
 * @throws {FormatError} when it is none
 */
export function parseSet(text: string): LogPromise {
  return reading(text, (root, faults) => {
    root.only(["SignedEntryTimestamp", "Payload"]);
    const signedEntryTimestamp = base64(root, "SignedEntryTimestamp");
    const node = root.node("Payload");
    if (node === undefined) return root.fault('Key "Payload" missing in a JSON object');
    const payload = Fields.of(node, "Payload", faults);
    payload?.only(["body", "integratedTime", "logIndex", "logID"]);
    return {
      signedEntryTimestamp,
      body: payload?.required("body") ?? "",
      integratedTime: integer(payload, "integratedTime"),
      logIndex: integer(payload, "logIndex"),
      logId: payload?.required("logID") ?? "",
    };
  });
}

/**
 * Checks that a log knows a signature.
 *
 * @returns when it was logged
 * @throws {PolicyError} when it does not, or knows another
 * @throws {FormatError} when the entry is malformed
 */
export function checkPromise(promise: LogPromise, logged: LoggedSignature): Date {
  checkLogSignature(promise, logged.logKeys);
  checkHashedRekord(promise.body, logged);
  return loggedAt(promise);
}

/**
 * Checks the log's signature over the entry, whatever that is about.
 *
 * @throws {PolicyError} when none of the keys made it
 */
function checkLogSignature(promise: LogPromise, logKeys: readonly PublicKey[]): void {
  for (const key of logKeys) {
    if (key.type !== "ec") throw new PolicyError("Rekor public keys must be ECDSA keys");
  }
  const { body, logId, integratedTime, logIndex } = promise;
  // RFC 8785 for these four: nothing in them that could be written in two ways.
  if (!/^[A-Za-z0-9+/=]*$/.test(body) || !/^[0-9a-fA-F]*$/.test(logId)) {
    throw new FormatError(WHAT, "Rekor SET with an entry or log ID that is no base64 or hex");
  }
  const canonical = new TextEncoder().encode(
    `{"body":"${body}","integratedTime":${integratedTime},"logID":"${logId}",` +
      `"logIndex":${logIndex}}`,
  );
  if (logKeys.some((key) => key.verify(canonical, promise.signedEntryTimestamp))) return;
  throw new PolicyError("cryptographic signature verification of Rekor SET failed");
}

/** Checks that an entry is about a signature over a hash. */
function checkHashedRekord(body: string, logged: LoggedSignature): void {
  const bytes = decodeGoBase64(body);
  if (bytes === undefined) throw new FormatError(WHAT, "Rekor entry is no base64");
  const entry = reading(jsonText(bytes, WHAT), (root, faults) => {
    root.only(["apiVersion", "kind", "spec"]);
    const spec = member(root, "spec", faults);
    spec?.only(["signature", "data"]);
    const signature = member(spec, "signature", faults);
    signature?.only(["content", "publicKey"]);
    const publicKey = member(signature, "publicKey", faults);
    publicKey?.only(["content"]);
    const data = member(spec, "data", faults);
    data?.only(["hash"]);
    const hash = member(data, "hash", faults);
    hash?.only(["algorithm", "value"]);
    return {
      apiVersion: root.required("apiVersion"),
      kind: root.required("kind"),
      signature: base64(signature, "content"),
      publicKey: base64(publicKey, "content"),
      algorithm: hash?.required("algorithm"),
      value: hash?.required("value"),
    };
  });
  if (entry.apiVersion !== "0.0.1" || entry.kind !== "hashedrekord") {
    throw new PolicyError(
      `Unexpected Rekor entry: kind ${entry.kind}, apiVersion ${entry.apiVersion}`,
    );
  }
  checkSubject({ ...entry, signer: entry.publicKey }, logged, "SET");
}

/**
 * Checks that an entry is about a signature.
 *
 * @param what what messages call the entry
 */
function checkSubject(
  entry: {
    readonly signer: Uint8Array;
    readonly signature: Uint8Array;
    readonly algorithm: string | undefined;
    readonly value: string | undefined;
  },
  logged: LoggedSignature,
  what: "SET" | "entry",
): void {
  const signer = singlePemBlock(new TextDecoder().decode(entry.signer));
  if (!sameBytes(signer.bytes, logged.signer)) {
    throw new PolicyError(`publicKey in Rekor ${what} does not match`);
  }
  if (!sameBytes(entry.signature, logged.signature)) {
    throw new PolicyError(
      `signature in Rekor ${what} does not match the signature of the image`,
    );
  }
  const hash = toHex(createHash("sha256").update(logged.payload).digest());
  if (entry.algorithm !== "sha256" || entry.value !== hash) {
    throw new PolicyError(`payload in Rekor ${what} does not match`);
  }
}

/**
 * Checks that a log knows a signed envelope.
 *
 * @returns when it was logged
 * @throws {PolicyError} when it does not, or knows another
 * @throws {FormatError} when the entry is malformed
 */
export function checkEnvelopePromise(promise: LogPromise, logged: LoggedSignature): Date {
  checkLogSignature(promise, logged.logKeys);
  const bytes = decodeGoBase64(promise.body);
  if (bytes === undefined) throw new FormatError(WHAT, "Rekor entry is no base64");
  const entry = reading(jsonText(bytes, WHAT), (root, faults) => {
    root.only(["apiVersion", "kind", "spec"]);
    const spec = member(root, "spec", faults);
    spec?.only(["envelopeHash", "payloadHash", "signatures"]);
    const hash = member(spec, "payloadHash", faults);
    hash?.only(["algorithm", "value"]);
    const list = spec?.node("signatures");
    const [only, ...more] = list?.kind === "array" ? list.elements : [];
    if (only === undefined || more.length > 0) {
      return spec?.fault("exactly one signature expected", "signatures");
    }
    const signature = Fields.of(only, "spec.signatures[0]", faults);
    signature?.only(["signature", "verifier"]);
    return {
      apiVersion: root.required("apiVersion"),
      kind: root.required("kind"),
      signature: base64(signature, "signature"),
      verifier: base64(signature, "verifier"),
      algorithm: hash?.required("algorithm"),
      value: hash?.required("value"),
    };
  });
  if (entry.apiVersion !== "0.0.1" || entry.kind !== "dsse") {
    throw new PolicyError(
      `Unexpected Rekor entry: kind ${entry.kind}, apiVersion ${entry.apiVersion}`,
    );
  }
  checkSubject({ ...entry, signer: entry.verifier }, logged, "entry");
  return loggedAt(promise);
}

/** When something was logged. */
function loggedAt({ integratedTime }: LogPromise): Date {
  const time = new Date(Number(integratedTime) * 1000);
  if (Number.isFinite(time.getTime())) return time;
  throw new FormatError(WHAT, `Rekor entry of a time that is none: ${integratedTime}`);
}

/** Reads a document of which all must be known; the first fault is thrown. */
function reading<T>(
  text: string,
  read: (root: Fields, faults: Faults) => T | undefined,
): T {
  let node: JsonNode;
  try {
    node = parseStrictJson(text, WHAT);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new FormatError(WHAT, `Rekor SET: ${error.message}`);
  }
  const faults = new Faults(text);
  const root = Fields.of(node, "", faults);
  const value = root === undefined ? undefined : read(root, faults);
  const [fault] = faults.found;
  if (fault !== undefined) throw new FormatError(WHAT, `Rekor SET: ${fault.reason}`);
  return value!;
}

function member(fields: Fields | undefined, key: string, faults: Faults): Fields | undefined {
  const node = fields?.node(key);
  if (fields === undefined) return undefined;
  if (node === undefined) return fields.fault(`Key "${key}" missing in a JSON object`);
  return Fields.of(node, fields.pathOf(key), faults);
}

function base64(fields: Fields | undefined, key: string): Uint8Array {
  const text = fields?.required(key);
  const bytes = text === undefined ? new Uint8Array(0) : decodeGoBase64(text);
  return bytes ?? fields?.fault("illegal base64 data", key) ?? new Uint8Array(0);
}

/** A whole number as it is written, in the one way that is canonical. */
function integer(fields: Fields | undefined, key: string): string {
  const node = fields?.node(key);
  if (node?.kind === "number" && /^(?:0|[1-9][0-9]{0,14})$/.test(node.text)) return node.text;
  fields?.fault(`"${key}" is no whole number`, key);
  return "0";
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
