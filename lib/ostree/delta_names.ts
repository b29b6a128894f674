/** Names of static deltas and what lists them (spec: ostree 7.1). */
import { Buffer } from "node:buffer";
import { FormatError } from "../base/mod.ts";
import { type Checksum, checksumBytes, checksumFromBytes, isChecksum } from "./checksum.ts";
import { type MetadataEntries, metadataValue, parseMetadata } from "./commit_object.ts";

const FORMAT = "ostree delta name";
const DELTAS_KEY = "ostree.static-deltas";

/** From which commit to which a delta leads. */
export interface DeltaName {
  /** The commit that must be there; `undefined` when the delta needs none. */
  readonly from: Checksum | undefined;
  /** The commit that it makes. */
  readonly to: Checksum;
}

/** A delta that an index or a summary names. */
export interface ListedDelta extends DeltaName {
  /** SHA-256 of its superblock. */
  readonly superblock: Checksum;
}

/** A checksum in the base64 of delta names: `_` for `/`, no padding, 43 characters. */
function deltaBase64(checksum: Checksum): string {
  const text = Buffer.from(checksumBytes(checksum)).toString("base64");
  return text.replaceAll("/", "_").replace("=", "");
}

/** The directory of a delta below a repository: `deltas/B8/Id9h…[-…]`. */
export function deltaPath(name: DeltaName): string {
  const to = deltaBase64(name.to);
  const text = name.from === undefined ? to : `${deltaBase64(name.from)}-${to}`;
  return `deltas/${text.slice(0, 2)}/${text.slice(2)}`;
}

/** The file below a repository that lists the deltas to a commit. */
export function deltaIndexPath(to: Checksum): string {
  const text = deltaBase64(to);
  return `delta-indexes/${text.slice(0, 2)}/${text.slice(2)}.index`;
}

/**
 * Parses the name of a delta as indexes write it: `FROM-TO` or `TO` in hex.
 *
 * @throws {FormatError} when it is none
 */
export function parseDeltaName(text: string): DeltaName {
  const [first, second, ...rest] = text.split("-");
  if (first !== undefined && isChecksum(first) && rest.length === 0) {
    if (second === undefined) return { from: undefined, to: first };
    if (isChecksum(second)) return { from: first, to: second };
  }
  throw new FormatError(FORMAT, `Invalid delta name '${text.slice(0, 140)}'`);
}

/**
 * The deltas that metadata lists: that of a summary, or a delta index.
 *
 * @throws {FormatError} when an entry is malformed
 */
export function listedDeltas(entries: MetadataEntries): ListedDelta[] {
  const list = metadataValue(entries, DELTAS_KEY, "a{sv}") as MetadataEntries | undefined;
  return (list ?? []).map(([name, value]) => {
    if (value.type !== "ay") {
      throw new FormatError(FORMAT, `Invalid checksum of type '${value.type}' for delta ${name}`);
    }
    return { ...parseDeltaName(name), superblock: checksumFromBytes(value.value as Uint8Array) };
  });
}

/**
 * The deltas that an index file lists.
 *
 * @throws {FormatError} when it is malformed
 */
export function parseDeltaIndex(bytes: Uint8Array): ListedDelta[] {
  return listedDeltas(parseMetadata(bytes));
}
