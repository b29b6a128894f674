/** Signatures as they are found, before anything of them is believed (spec: trust 6, 8). */
import { FormatError, toByteString } from "../base/mod.ts";
import { Faults } from "./faults.ts";
import { Fields } from "./fields.ts";
import { JsonError, jsonText, parseStrictJson } from "./json.ts";

/** Media type of a payload that cosign signs. */
export const COSIGN_PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json";

/** Largest signature, manifest of signatures or payload, in bytes. */
export const MAX_SIGNATURE_SIZE = 4 * 1024 * 1024;

/** Most signatures of one kind that are looked at. */
export const MAX_SIGNATURES = 128;

/** Most bytes of signatures that are taken from one place; real ones have below 20000 each. */
const MAX_TOTAL = 32 * 1024 * 1024;

/** Counts what is taken from one place, so that many large signatures do not fill the memory. */
export class SignatureBudget {
  #left: number;

  /** Lets so many bytes through. @default 32 MiB */
  constructor(total: number = MAX_TOTAL) {
    this.#left = total;
  }

  /** Whether it was not enough. */
  get spent(): boolean {
    return this.#left < 0;
  }

  /**
   * Takes a signature into account.
   *
   * @throws {FormatError} when it is too large, or together with those before it
   */
  take(size: number, what: string): void {
    if (size > MAX_SIGNATURE_SIZE) {
      const message = `${what} has ${size} bytes, more than ${MAX_SIGNATURE_SIZE}`;
      throw new FormatError("signature", message);
    }
    if (this.#left >= 0) this.#left -= size;
    if (this.#left < 0) {
      throw new FormatError("signature", `More than ${MAX_TOTAL} bytes of signatures`);
    }
  }
}

/** A simple signature: an OpenPGP message. */
export interface SimpleSignature {
  /** What it is. */
  readonly kind: "simple";
  /** Where it was found. */
  readonly place: string;
  /** The message. */
  readonly bytes: Uint8Array;
}

/** A sigstore attachment; a signature when its type says so. */
export interface SigstoreAttachment {
  /** What it is. */
  readonly kind: "sigstore";
  /** Where it was found. */
  readonly place: string;
  /** Media type of the payload. */
  readonly mediaType: string;
  /** What is signed. */
  readonly payload: Uint8Array;
  /** The signature, certificates and log entry. */
  readonly annotations: ReadonlyMap<string, string>;
}

/** A sigstore bundle. */
export interface BundleSignature {
  /** What it is. */
  readonly kind: "bundle";
  /** Where it was found. */
  readonly place: string;
  /** The bundle's document. */
  readonly bytes: Uint8Array;
}

/** A signature as it was found. */
export type FoundSignature = SimpleSignature | SigstoreAttachment | BundleSignature;

/** Something that was found and cannot be read. */
export interface SignatureFault {
  /** Where it was found. */
  readonly place: string;
  /** What is wrong with it. */
  readonly reason: string;
}

/** All that was found for one manifest. */
export interface FoundSignatures {
  /** The signatures. */
  readonly signatures: readonly FoundSignature[];
  /** What could not be read; it never counts for anything. */
  readonly faults: readonly SignatureFault[];
  /** Where no signatures were looked for although there might be some, and why. */
  readonly notes: readonly string[];
}

/** Nothing was found. */
export const NO_SIGNATURES: FoundSignatures = { signatures: [], faults: [], notes: [] };

/** What was found in several places. */
export function joinSignatures(parts: readonly FoundSignatures[]): FoundSignatures {
  return {
    signatures: parts.flatMap(({ signatures }) => signatures),
    faults: parts.flatMap(({ faults }) => faults),
    notes: parts.flatMap(({ notes }) => notes),
  };
}

/** First bytes of OpenPGP messages (spec: trust 6). */
const OPENPGP_FIRST: ReadonlySet<number> = new Set([
  ...[0xa0, 0xa1, 0xa2, 0xa3],
  ...[0xc8, 0x90, 0x91, 0x92, 0x3d, 0xc4],
  ...[0x88, 0x89, 0x8a, 0x8b, 0xc2],
]);

/** Longest header of a blob that has one. */
const MAX_HEADER = 64;
const NEWLINE = 0x0a;

/**
 * Reads a blob as it lies in a lookaside, a `dir:` image or containers-storage.
 *
 * @param place where it was found
 * @throws {FormatError} when it is of no known kind
 */
export function parseSignatureBlob(bytes: Uint8Array, place: string): FoundSignature {
  const [first] = bytes;
  if (first === undefined) throw new FormatError("signature", "empty signature blob");
  if (OPENPGP_FIRST.has(first)) return { kind: "simple", place, bytes };
  if (first !== 0) {
    const hex = first.toString(16).padStart(2, "0");
    throw new FormatError(
      "signature",
      `unrecognized signature format, starting with binary 0x${hex}`,
    );
  }
  const end = bytes.subarray(0, MAX_HEADER).indexOf(NEWLINE);
  const header = end < 0 ? undefined : toByteString(bytes.subarray(1, end));
  const rest = bytes.subarray(end + 1);
  if (header === "simple-signing") return { kind: "simple", place, bytes: rest };
  if (header === "sigstore-json") return parseSigstoreBlob(rest, place);
  const shown = JSON.stringify(header ?? toByteString(bytes.subarray(1, MAX_HEADER)));
  throw new FormatError("signature", `unrecognized signature format ${shown}`);
}

function parseSigstoreBlob(bytes: Uint8Array, place: string): SigstoreAttachment {
  const what = "sigstore signature";
  try {
    const text = jsonText(bytes, what);
    const faults = new Faults(text);
    const fields = Fields.of(parseStrictJson(text, what), "", faults);
    fields?.only(["mimeType", "payload", "annotations"]);
    const mediaType = fields?.string("mimeType") ?? "";
    const payload = fields?.bytes("payload") ?? new Uint8Array(0);
    const node = fields?.node("annotations");
    const annotations = new Map<string, string>();
    const named = node === undefined || node.kind === "null"
      ? undefined
      : Fields.of(node, "annotations", faults);
    for (const { key } of named?.entries() ?? []) annotations.set(key, named!.string(key) ?? "");
    const [fault] = faults.found;
    if (fault !== undefined) throw new FormatError(what, fault.reason);
    return { kind: "sigstore", place, mediaType, payload, annotations };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new FormatError(what, error.message);
  }
}
