/** Summaries and indexes of summaries (spec: ostree 8.2, 8.3). */
import { type ByteString, FormatError, utf8ByteString } from "../base/mod.ts";
import { type Checksum, checksumFromBytes } from "./checksum.ts";
import type { MetadataEntries } from "./commit_object.ts";
import { checkRef } from "./ref_names.ts";
import { swap64 } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";

/** Variant type of `summary`. */
export const SUMMARY_TYPE = "(a(s(taya{sv}))a{sv})";
/** Variant type of `summary.idx`. */
export const SUMMARY_INDEX_TYPE = "(a{s(ayaaya{sv})}a{sv})";
/** Largest summary that is read, in bytes. */
export const MAX_SUMMARY_SIZE = 128 * 1024 * 1024;

const FORMAT = "ostree summary";

/** A ref in a summary. */
export interface SummaryRef {
  /** Its name. */
  readonly name: string;
  /** The commit it leads to. */
  readonly commit: Checksum;
  /** Size of the commit object in bytes, u64. */
  readonly size: bigint;
  /** What else the summary says about the commit. */
  readonly metadata: MetadataEntries;
}

/** What a repository says about itself. */
export interface Summary {
  /** Its refs, sorted by name. */
  readonly refs: readonly SummaryRef[];
  /** What else it says, static deltas among it. */
  readonly metadata: MetadataEntries;
}

/** Where the current summary of each subset is. */
export interface SummaryIndex {
  /** Checksum of the unpacked summary by subset. */
  readonly subsets: ReadonlyMap<string, Checksum>;
}

/**
 * Parses a summary.
 *
 * @throws {FormatError} when it is not in normal form, or its refs are invalid or not in order
 */
export function parseSummary(bytes: Uint8Array): Summary {
  const [entries, metadata] = decodeVariant(SUMMARY_TYPE, bytes) as unknown as [
    readonly [string, readonly [bigint, Uint8Array, MetadataEntries]][],
    MetadataEntries,
  ];
  let previous: ByteString = "";
  const refs = entries.map(([name, [size, checksum, about]]): SummaryRef => {
    checkRef(name);
    const key = utf8ByteString(name);
    if (key <= previous) {
      throw new FormatError(FORMAT, `Invalid summary: ref '${name}' is not in order`);
    }
    previous = key;
    return { name, commit: checksumFromBytes(checksum), size: swap64(size), metadata: about };
  });
  return { refs, metadata };
}

/** The commit that a summary gives a ref; `undefined` when it has no such ref. */
export function summaryCommit(summary: Summary, name: string): Checksum | undefined {
  return summary.refs.find((ref) => ref.name === name)?.commit;
}

/**
 * Parses an index of summaries.
 *
 * @throws {FormatError} when it is not in normal form or a subset is twice there
 */
export function parseSummaryIndex(bytes: Uint8Array): SummaryIndex {
  const [entries] = decodeVariant(SUMMARY_INDEX_TYPE, bytes) as unknown as [
    readonly [string, readonly [Uint8Array]][],
  ];
  const subsets = new Map<string, Checksum>();
  for (const [subset, [checksum]] of entries) {
    if (subsets.has(subset)) {
      throw new FormatError(FORMAT, `Invalid summary index: duplicate subset '${subset}'`);
    }
    subsets.set(subset, checksumFromBytes(checksum));
  }
  return { subsets };
}
