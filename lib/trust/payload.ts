/** What a signature says it is about (spec: trust 6, 8). */
import { FormatError } from "../base/mod.ts";
import { Faults } from "./faults.ts";
import { Fields } from "./fields.ts";
import { JsonError, jsonText, parseStrictJson } from "./json.ts";

/** Kinds of payloads, by what they say of themselves. */
const PAYLOAD_TYPES: Readonly<Record<PayloadKind, string>> = {
  simple: "atomic container signature",
  cosign: "cosign container image signature",
};

/** What made a payload. */
export type PayloadKind = "simple" | "cosign";

/** A payload. */
export interface SignaturePayload {
  /** Name that was signed. */
  readonly reference: string;
  /** Digest that was signed, as it is written. */
  readonly digest: string;
  /** Who or what signed, in its own words. */
  readonly creator: string | undefined;
  /** When it was signed, in seconds since 1970. */
  readonly timestamp: number | undefined;
}

const WHAT = "signature payload";

/**
 * Reads a payload.
 *
 * @throws {FormatError} for the first thing that is not as it must be
 */
export function parsePayload(
  bytes: Uint8Array,
  kind: PayloadKind,
): SignaturePayload {
  try {
    const text = jsonText(bytes, WHAT);
    const faults = new Faults(text);
    const root = Fields.of(parseStrictJson(text, WHAT), "", faults);
    const payload = root === undefined ? undefined : readPayload(root, { kind, faults });
    const [fault] = faults.found;
    if (fault !== undefined) throw new FormatError(WHAT, fault.reason);
    return payload!;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new FormatError(WHAT, error.message);
  }
}

function readPayload(
  root: Fields,
  options: { kind: PayloadKind; faults: Faults },
): SignaturePayload | undefined {
  const { kind, faults } = options;
  root.only(["critical", "optional"]);
  const critical = object(root, "critical", faults);
  const optional = kind === "cosign" && root.node("optional")?.kind === "null"
    ? undefined
    : object(root, "optional", faults);
  if (critical === undefined) return undefined;
  critical.only(["type", "image", "identity"]);
  const type = critical.required("type");
  const image = object(critical, "image", faults);
  const identity = object(critical, "identity", faults);
  image?.only(["docker-manifest-digest"]);
  identity?.only(["docker-reference"]);
  const digest = image?.required("docker-manifest-digest") ?? "";
  const reference = identity?.required("docker-reference") ?? "";
  const creator = optional?.string("creator");
  const timestamp = optional === undefined ? undefined : readTimestamp(optional);
  if (faults.found.length === 0 && type !== PAYLOAD_TYPES[kind]) {
    critical.fault(`Unrecognized signature type ${type}`, "type");
  }
  return { reference, digest, creator, timestamp };
}

function object(fields: Fields, key: string, faults: Faults): Fields | undefined {
  const node = fields.node(key);
  if (node === undefined) return fields.fault(`Key "${key}" missing in a JSON object`);
  return Fields.of(node, fields.pathOf(key), faults);
}

/** Seconds; any way to write a whole number will do. */
function readTimestamp(optional: Fields): number | undefined {
  const node = optional.node("timestamp");
  if (node === undefined) return undefined;
  if (node.kind !== "number") return optional.fault("number expected", "timestamp");
  const value = Number(node.text);
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 63) return value;
  return optional.fault("Field optional.timestamp is not an integer", "timestamp");
}
