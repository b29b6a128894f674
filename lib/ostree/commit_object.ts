/** Commit objects (spec: ostree 2.1). */
import { FormatError } from "../base/mod.ts";
import { type Checksum, checksumBytes, checksumFromBytes, checksumOf } from "./checksum.ts";
import { swap64, type Variant, type VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { encodeVariant } from "./variant_write.ts";

/** Variant type of a commit object. */
export const COMMIT_TYPE = "(a{sv}aya(say)sstayay)";

/** Variant type of detached metadata, `summary.sig` and delta indexes. */
export const METADATA_TYPE = "a{sv}";

const FORMAT = "ostree commit";

/** A dictionary `a{sv}` in stored order. */
export type MetadataEntries = readonly (readonly [key: string, value: Variant])[];

/** A commit. */
export interface Commit {
  /** Metadata in stored order. */
  readonly metadata: MetadataEntries;
  /** Parent commit, if it has one. */
  readonly parent?: Checksum;
  /** Related objects; always empty in practice. */
  readonly related: readonly (readonly [name: string, checksum: Checksum])[];
  /** First line of the message. */
  readonly subject: string;
  /** Rest of the message. */
  readonly body: string;
  /** Seconds since 1970, u64. */
  readonly timestamp: bigint;
  /** Dirtree of the root. */
  readonly rootTree: Checksum;
  /** Dirmeta of the root. */
  readonly rootMeta: Checksum;
}

/**
 * Parses a commit object.
 *
 * @throws {FormatError} when it is not in normal form or its checksums have another length
 */
export function parseCommit(bytes: Uint8Array): Commit {
  const [metadata, parent, related, subject, body, timestamp, rootTree, rootMeta] = decodeVariant(
    COMMIT_TYPE,
    bytes,
  ) as unknown as [
    MetadataEntries,
    Uint8Array,
    readonly [string, Uint8Array][],
    string,
    string,
    bigint,
    Uint8Array,
    Uint8Array,
  ];
  return {
    metadata: checkKeys(metadata, FORMAT),
    ...(parent.length === 0 ? {} : { parent: checksumFromBytes(parent) }),
    related: related.map(([name, checksum]) => [name, checksumFromBytes(checksum)] as const),
    subject,
    body,
    timestamp: swap64(timestamp),
    rootTree: checksumFromBytes(rootTree),
    rootMeta: checksumFromBytes(rootMeta),
  };
}

/** Serializes a commit object. */
export function encodeCommit(commit: Commit): Uint8Array<ArrayBuffer> {
  return encodeVariant(COMMIT_TYPE, [
    commit.metadata as VariantValue,
    commit.parent === undefined ? new Uint8Array(0) : checksumBytes(commit.parent),
    commit.related.map(([name, checksum]) => [name, checksumBytes(checksum)]),
    commit.subject,
    commit.body,
    swap64(commit.timestamp),
    checksumBytes(commit.rootTree),
    checksumBytes(commit.rootMeta),
  ]);
}

/**
 * Parses a dictionary `a{sv}`, such as detached metadata.
 *
 * @throws {FormatError} when it is not in normal form or a key is twice there
 */
export function parseMetadata(bytes: Uint8Array): MetadataEntries {
  return checkKeys(
    decodeVariant(METADATA_TYPE, bytes) as unknown as MetadataEntries,
    "ostree metadata",
  );
}

/** Serializes a dictionary `a{sv}`. */
export function encodeMetadata(entries: MetadataEntries): Uint8Array<ArrayBuffer> {
  return encodeVariant(METADATA_TYPE, entries as VariantValue);
}

function checkKeys(entries: MetadataEntries, format: string): MetadataEntries {
  if (entries.length > 1 && new Set(entries.map(([key]) => key)).size !== entries.length) {
    throw new FormatError(format, "Invalid metadata: duplicate key");
  }
  return entries;
}

/** The value of a metadata key when it is there and has the type; `undefined` otherwise. */
export function metadataValue(
  entries: MetadataEntries,
  key: string,
  type: string,
): VariantValue | undefined {
  const found = entries.find(([name]) => name === key)?.[1];
  return found?.type === type ? found.value : undefined;
}

/** The refs that a commit is bound to (`ostree.ref-binding`); `undefined` when it names none. */
export function refBinding(commit: Commit): readonly string[] | undefined {
  return metadataValue(commit.metadata, "ostree.ref-binding", "as") as
    | readonly string[]
    | undefined;
}

/** The content checksum: of the root dirtree's and dirmeta's checksums, as `ostree show` prints. */
export function contentChecksum(commit: Commit): Checksum {
  return checksumOf(checksumBytes(commit.rootTree), checksumBytes(commit.rootMeta));
}
