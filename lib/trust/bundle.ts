/** Sigstore bundles: a signature with all that is needed to check it (spec: trust 8). */
import { FormatError, toHex } from "../base/mod.ts";
import { MAX_CHAIN } from "../signature/mod.ts";
import { Faults } from "./faults.ts";
import { Fields } from "./fields.ts";
import { JsonError, type JsonNode, jsonText, parseStrictJson } from "./json.ts";
import type { LogPromise } from "./rekor.ts";

/** Media type of today's bundles. */
export const BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";

/** Media types of older ones. */
const OLDER_TYPES = /^application\/vnd\.dev\.sigstore\.bundle\+json;version=0\.[123]$/;

/** What is signed. */
export interface DsseEnvelope {
  /** Type of the payload. */
  readonly payloadType: string;
  /** The payload. */
  readonly payload: Uint8Array;
  /** The one signature. */
  readonly signature: Uint8Array;
}

/** A bundle. */
export interface SigstoreBundle {
  /** The signed envelope; `undefined` for a signature over some bytes, which no image has. */
  readonly envelope: DsseEnvelope | undefined;
  /** The signer's certificate; `undefined` when it was a key. */
  readonly certificate: Uint8Array | undefined;
  /** Certificates after the signer's. */
  readonly chain: readonly Uint8Array[];
  /** What logs promised; entries without a promise leave it out. */
  readonly promises: readonly (LogPromise | undefined)[];
}

const WHAT = "sigstore bundle";

/**
 * Reads a bundle.
 *
 * @throws {FormatError} when it is none, has unknown fields, or not exactly one signature
 */
export function parseBundle(bytes: Uint8Array): SigstoreBundle {
  try {
    const text = jsonText(bytes, WHAT);
    const faults = new Faults(text);
    const root = Fields.of(parseStrictJson(text, WHAT), "", faults);
    const bundle = root === undefined ? undefined : new Reading(faults).bundle(root);
    const [fault] = faults.found;
    if (fault !== undefined) {
      const where = fault.path === "" ? "" : ` (${fault.path})`;
      throw new FormatError(WHAT, `invalid bundle: ${fault.reason}${where}`);
    }
    return bundle!;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new FormatError(WHAT, `invalid bundle: ${error.message}`);
  }
}

/** The bytes that a signature over an envelope is made over (DSSE, PAE). */
export function envelopeBytes({ payloadType, payload }: DsseEnvelope): Uint8Array {
  const type = new TextEncoder().encode(payloadType);
  const head = new TextEncoder().encode(
    `DSSEv1 ${type.length} ${payloadType} ${payload.length} `,
  );
  const bytes = new Uint8Array(head.length + payload.length);
  bytes.set(head);
  bytes.set(payload, head.length);
  return bytes;
}

class Reading {
  readonly #faults: Faults;

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  bundle(root: Fields): SigstoreBundle | undefined {
    root.only(["mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope"]);
    const type = root.required("mediaType") ?? "";
    if (type !== BUNDLE_TYPE && !OLDER_TYPES.test(type)) {
      root.fault(`unknown media type ${JSON.stringify(type)}`, "mediaType");
    }
    if (root.has("dsseEnvelope") === root.has("messageSignature")) {
      root.fault("exactly one of dsseEnvelope and messageSignature expected");
    }
    const envelope = root.has("dsseEnvelope") ? this.#envelope(root) : undefined;
    const material = this.#member(root, "verificationMaterial");
    if (material === undefined) return undefined;
    material.only([
      "certificate",
      "publicKey",
      "x509CertificateChain",
      "tlogEntries",
      "timestampVerificationData",
    ]);
    const ways = ["certificate", "publicKey", "x509CertificateChain"];
    if (ways.filter((key) => material.has(key)).length !== 1) {
      material.fault("exactly one of certificate, publicKey and x509CertificateChain expected");
    }
    const [certificate, ...chain] = this.#certificates(material);
    const entries = this.#list(material, "tlogEntries");
    return {
      envelope,
      certificate,
      chain,
      promises: entries.map(({ node, path }) => this.#promise(node, path)),
    };
  }

  #envelope(root: Fields): DsseEnvelope | undefined {
    const envelope = this.#member(root, "dsseEnvelope");
    envelope?.only(["payload", "payloadType", "signatures"]);
    if (envelope === undefined) return undefined;
    const signatures = this.#list(envelope, "signatures");
    const [first] = signatures;
    if (first === undefined || signatures.length > 1) {
      return envelope.fault(`${signatures.length} signatures where one is expected`, "signatures");
    }
    const signature = Fields.of(first.node, first.path, this.#faults);
    signature?.only(["sig", "keyid"]);
    return {
      payloadType: envelope.required("payloadType") ?? "",
      payload: this.#bytes(envelope, "payload"),
      signature: this.#bytes(signature, "sig"),
    };
  }

  #certificates(material: Fields): Uint8Array[] {
    if (material.has("publicKey")) {
      this.#member(material, "publicKey")?.only(["hint"]);
      return [];
    }
    if (material.has("certificate")) {
      const certificate = this.#member(material, "certificate");
      certificate?.only(["rawBytes"]);
      return [this.#bytes(certificate, "rawBytes")];
    }
    const chain = this.#member(material, "x509CertificateChain");
    chain?.only(["certificates"]);
    const list = chain === undefined ? [] : this.#list(chain, "certificates");
    if (list.length > MAX_CHAIN) {
      chain?.fault(`more than ${MAX_CHAIN} certificates`, "certificates");
      return [];
    }
    return list.map(({ node, path }) => {
      const certificate = Fields.of(node, path, this.#faults);
      certificate?.only(["rawBytes"]);
      return this.#bytes(certificate, "rawBytes");
    });
  }

  #promise(node: JsonNode, path: string): LogPromise | undefined {
    const entry = Fields.of(node, path, this.#faults);
    if (entry === undefined) return undefined;
    entry.only([
      "logIndex",
      "logId",
      "kindVersion",
      "integratedTime",
      "inclusionPromise",
      "inclusionProof",
      "canonicalizedBody",
    ]);
    const log = this.#member(entry, "logId");
    log?.only(["keyId"]);
    const body = entry.required("canonicalizedBody") ?? "";
    if (!entry.has("inclusionPromise")) return undefined;
    const promise = this.#member(entry, "inclusionPromise");
    promise?.only(["signedEntryTimestamp"]);
    return {
      signedEntryTimestamp: this.#bytes(promise, "signedEntryTimestamp"),
      body,
      integratedTime: this.#integer(entry, "integratedTime"),
      logIndex: this.#integer(entry, "logIndex"),
      logId: toHex(this.#bytes(log, "keyId")),
    };
  }

  /** A whole number; these documents write them as strings. */
  #integer(fields: Fields, key: string): string {
    const node = fields.node(key);
    const text = node?.kind === "string" ? node.value : node?.kind === "number" ? node.text : "";
    if (/^(?:0|[1-9][0-9]{0,14})$/.test(text)) return text;
    return fields.fault(`"${key}" is no whole number`, key) ?? "0";
  }

  #member(fields: Fields, key: string): Fields | undefined {
    const node = fields.node(key);
    if (node === undefined) return fields.fault(`Key "${key}" missing in a JSON object`);
    return Fields.of(node, fields.pathOf(key), this.#faults);
  }

  #bytes(fields: Fields | undefined, key: string): Uint8Array {
    if (fields?.required(key) === undefined) return new Uint8Array(0);
    return fields.bytes(key) ?? new Uint8Array(0);
  }

  #list(fields: Fields, key: string): { node: JsonNode; path: string }[] {
    const node = fields.node(key);
    if (node === undefined || node.kind === "null") return [];
    if (node.kind !== "array") return fields.fault("array expected", key) ?? [];
    const path = fields.pathOf(key);
    return node.elements.map((element, i) => ({ node: element, path: `${path}[${i}]` }));
  }
}
