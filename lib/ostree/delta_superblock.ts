/** Superblocks of static deltas: what a delta holds and makes (spec: ostree 7.2). */
import { FormatError, safeNumber, UnsupportedError } from "../base/mod.ts";
import { type Checksum, CHECKSUM_SIZE, checksumFromBytes, checksumOf } from "./checksum.ts";
import {
  type Commit,
  COMMIT_TYPE,
  type MetadataEntries,
  metadataValue,
  parseCommit,
} from "./commit_object.ts";
import { deltaPath } from "./delta_names.ts";
import { corruptedObject, kindOfNumber, type ObjectKind } from "./object_kind.ts";
import { swap32, swap64, type VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { encodeVariant } from "./variant_write.ts";

/** Variant type of a superblock. */
export const SUPERBLOCK_TYPE = `(a{sv}tayay${COMMIT_TYPE}aya(uayttay)a(yaytt))`;
/** Largest superblock that is fetched or read, in bytes. */
export const MAX_SUPERBLOCK_SIZE = 128 * 1024 * 1024;
/** Metadata key of the byte order that a delta's numbers are in. */
export const ENDIANNESS_KEY = "ostree.endianness";
/** Bytes of one entry in a part's list of objects: kind and checksum. */
export const OBJECT_ENTRY_SIZE = 1 + CHECKSUM_SIZE;

const FORMAT = "ostree delta";
export const SIGNED_TYPE = "(taya{sv})";
export const SIGNED_MAGIC = "OSTSGNDT";
/** Mark of little-endian numbers. */
export const LITTLE_ENDIAN = 0x6c;
const BIG = 0x42;
/** Sizes that say without the key that the numbers are in the other order (as ostree does). */
const SWAPPED_RATIO = 1.2;
const SWAPPED_SIZE = 0xffffffff;

/** One part of a delta. */
export interface DeltaPartEntry {
  /** Its number: also the name of its file. */
  readonly index: number;
  /** SHA-256 of the part, compression byte included. */
  readonly checksum: Checksum;
  /** Bytes of the part. */
  readonly size: number;
  /** Bytes of the objects that it makes, symbolic links not counted. */
  readonly uncompressedSize: number;
  /** Kinds and checksums of its objects, {@linkcode OBJECT_ENTRY_SIZE} bytes each. */
  readonly objects: Uint8Array;
  /** The part when it is inside the superblock: compression byte and data. */
  readonly inline: InlinePart | undefined;
}

/** A part inside a superblock. */
export interface InlinePart {
  /** How it is compressed. */
  readonly compression: number;
  /** The rest; a view of the superblock. */
  readonly data: Uint8Array;
}

/** An object that is not in the delta and is to be fetched as usual. */
export interface DeltaFallback {
  /** Its kind. */
  readonly kind: ObjectKind;
  /** Its checksum. */
  readonly checksum: Checksum;
  /** Bytes to fetch. */
  readonly size: number;
  /** Bytes of its content. */
  readonly uncompressedSize: number;
}

/** A parsed superblock whose commit was checked against the checksum that it names. */
export interface DeltaSuperblock {
  /** Metadata in stored order. */
  readonly metadata: MetadataEntries;
  /** When it was made, seconds since 1970. */
  readonly timestamp: bigint;
  /** The commit that must be there; `undefined` when the delta needs none. */
  readonly from: Checksum | undefined;
  /** The commit that it makes. */
  readonly to: Checksum;
  /** The commit object; its checksum is {@linkcode DeltaSuperblock.to}. */
  readonly commitBytes: Uint8Array;
  /** The commit, parsed. */
  readonly commit: Commit;
  /** Signatures of the commit, when the delta brings them. */
  readonly detached: Uint8Array | undefined;
  /** Its parts in order. */
  readonly parts: readonly DeltaPartEntry[];
  /** Objects to fetch besides. */
  readonly fallbacks: readonly DeltaFallback[];
  /** Bytes of all parts and fallbacks. */
  readonly totalSize: number;
}

/** A superblock with signatures over it. */
export interface DeltaEnvelope {
  /** The superblock's bytes: what was signed. */
  readonly superblock: Uint8Array;
  /** Signatures by kind; `undefined` when there is no signed wrapper. */
  readonly signatures: MetadataEntries | undefined;
}

/**
 * Takes a superblock out of its signed wrapper, if it has one. No signature is verified here.
 *
 * @throws {FormatError} when the wrapper is malformed
 */
export function openDeltaEnvelope(bytes: Uint8Array): DeltaEnvelope {
  for (let i = 0; i < SIGNED_MAGIC.length; i++) {
    if (bytes[i] !== SIGNED_MAGIC.charCodeAt(i)) {
      return { superblock: bytes, signatures: undefined };
    }
  }
  const [, superblock, signatures] = decodeVariant(SIGNED_TYPE, bytes) as unknown as [
    bigint,
    Uint8Array,
    MetadataEntries,
  ];
  // Alignment counts from the start of the superblock, which is at a multiple of 8 in the wrapper.
  return { superblock, signatures };
}

type RawPart = [
  version: number,
  checksum: Uint8Array,
  size: bigint,
  usize: bigint,
  ids: Uint8Array,
];
type RawFallback = [kind: number, checksum: Uint8Array, size: bigint, usize: bigint];

/**
 * Parses a superblock (out of its wrapper) and checks the commit in it.
 *
 * @throws {FormatError} when it is malformed
 * @throws {DigestMismatchError} when its commit is not the one that it names
 * @throws {UnsupportedError} when it needs other deltas first, or a newer version of parts
 */
export function parseDeltaSuperblock(bytes: Uint8Array): DeltaSuperblock {
  if (bytes.length === 0) throw new FormatError(FORMAT, "superblock is empty");
  const [metadata, timestamp, rawFrom, rawTo, rawCommit, needed, rawParts, rawFallbacks] =
    decodeVariant(SUPERBLOCK_TYPE, bytes) as unknown as [
      MetadataEntries,
      bigint,
      Uint8Array,
      Uint8Array,
      VariantValue,
      Uint8Array,
      readonly RawPart[],
      readonly RawFallback[],
    ];
  if (rawFrom.length !== 0 && rawFrom.length !== CHECKSUM_SIZE) {
    throw new FormatError(FORMAT, `invalid from-checksum length ${rawFrom.length}`);
  }
  const from = rawFrom.length === 0 ? undefined : checksumFromBytes(rawFrom);
  const to = checksumFromBytes(rawTo);
  if (needed.length !== 0) throw new UnsupportedError(`Delta to ${to} needs other deltas first`);
  // Values in normal form have one serialization, so these are the bytes that were there.
  const commitBytes = encodeVariant(COMMIT_TYPE, rawCommit);
  const actual = checksumOf(commitBytes);
  if (actual !== to) throw corruptedObject("commit", to, actual);
  const order = byteOrder(metadata, rawParts);
  const path = deltaPath({ from, to });
  const inline = inlineParts(metadata, path, rawParts.length);
  const parts = rawParts.map((raw, index) => partEntry(raw, { index, order, inline }));
  const fallbacks = rawFallbacks.map((raw) => fallbackEntry(raw, order));
  const detached = metadata.find(([key]) => key === `${path}/commitmeta`)?.[1];
  return {
    metadata,
    timestamp: swap64(timestamp),
    from,
    to,
    commitBytes,
    commit: parseCommit(commitBytes),
    detached: detached?.type === "a{sv}" ? detached.bytes : undefined,
    parts,
    fallbacks,
    totalSize: [...parts, ...fallbacks].reduce((sum, { size }) => sum + size, 0),
  };
}

/** How a delta's numbers become ours. */
interface ByteOrder {
  readonly u32: (value: number) => number;
  readonly size: (value: bigint, what: string) => number;
}

function byteOrder(metadata: MetadataEntries, parts: readonly RawPart[]): ByteOrder {
  const mark = metadataValue(metadata, ENDIANNESS_KEY, "y");
  if (mark !== undefined && mark !== LITTLE_ENDIAN && mark !== BIG) {
    throw new FormatError(FORMAT, `unknown endianness ${String(mark)}`);
  }
  const big = mark === undefined ? looksSwapped(parts) : mark === BIG;
  return {
    u32: big ? swap32 : (value) => value,
    size: (value, what) => safeNumber(big ? swap64(value) : value, FORMAT, what),
  };
}

/** Deltas of old do not name their byte order: sizes that make no sense do. */
function looksSwapped(parts: readonly RawPart[]): boolean {
  let size = 0;
  let uncompressed = 0;
  let objects = 0;
  for (const part of parts) {
    size += Number(part[2]);
    uncompressed += Number(part[3]);
    objects += part[4].length / OBJECT_ENTRY_SIZE;
  }
  return (uncompressed > 0 && size / uncompressed > SWAPPED_RATIO) ||
    (objects > 0 && size / objects > SWAPPED_SIZE);
}

function inlineParts(
  metadata: MetadataEntries,
  path: string,
  count: number,
): ReadonlyMap<number, InlinePart> {
  const out = new Map<number, InlinePart>();
  for (const [key, { type, value }] of metadata) {
    if (!key.startsWith(path + "/")) continue;
    const name = key.slice(path.length + 1);
    if (!/^(?:0|[1-9][0-9]{0,9})$/.test(name) || Number(name) >= count) continue;
    if (type !== "(yay)") {
      throw new FormatError(FORMAT, `delta part ${name} has type '${type}'`);
    }
    const [compression, data] = value as unknown as [number, Uint8Array];
    out.set(Number(name), { compression, data });
  }
  return out;
}

function partEntry(
  [version, checksum, size, uncompressed, objects]: RawPart,
  how: { index: number; order: ByteOrder; inline: ReadonlyMap<number, InlinePart> },
): DeltaPartEntry {
  const { index, order } = how;
  if (version !== 0) {
    throw new UnsupportedError(`delta part ${index} has version ${order.u32(version)}`);
  }
  if (objects.length % OBJECT_ENTRY_SIZE !== 0) {
    const message = `objects array length ${objects.length} not a multiple of ${OBJECT_ENTRY_SIZE}`;
    throw new FormatError(FORMAT, message);
  }
  for (let at = 0; at < objects.length; at += OBJECT_ENTRY_SIZE) objectKind(objects[at]!);
  return {
    index,
    checksum: checksumFromBytes(checksum),
    size: order.size(size, "part size"),
    uncompressedSize: order.size(uncompressed, "part's uncompressed size"),
    objects,
    inline: how.inline.get(index),
  };
}

function fallbackEntry(
  [kind, checksum, size, uncompressed]: RawFallback,
  order: ByteOrder,
): DeltaFallback {
  return {
    kind: objectKind(kind),
    checksum: checksumFromBytes(checksum),
    size: order.size(size, "fallback size"),
    uncompressedSize: order.size(uncompressed, "fallback's uncompressed size"),
  };
}

/**
 * The kind with a number in a delta.
 *
 * @throws {FormatError} when there is none
 */
export function objectKind(number: number): ObjectKind {
  const kind = kindOfNumber(number);
  if (kind === undefined) throw new FormatError(FORMAT, `Unknown object type ${number}`);
  return kind;
}
