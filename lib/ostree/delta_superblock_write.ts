/** Writing superblocks of static deltas (spec: ostree 7.2). */
import { type Checksum, checksumBytes } from "./checksum.ts";
import { COMMIT_TYPE, type MetadataEntries } from "./commit_object.ts";
import { deltaPath } from "./delta_names.ts";
import {
  type DeltaFallback,
  ENDIANNESS_KEY,
  LITTLE_ENDIAN,
  SIGNED_MAGIC,
  SIGNED_TYPE,
  SUPERBLOCK_TYPE,
} from "./delta_superblock.ts";
import { OBJECT_NUMBER } from "./object_kind.ts";
import { swap64, Variant, type VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { encodeVariant } from "./variant_write.ts";

/** What a superblock says about a part. */
export interface WrittenPart {
  /** SHA-256 of the part's file. */
  readonly checksum: Checksum;
  /** Bytes of the part's file. */
  readonly size: number;
  /** Bytes of the objects that it makes. */
  readonly uncompressedSize: number;
  /** Kinds and checksums of its objects. */
  readonly objects: Uint8Array;
  /** The part's file, when it goes inside. */
  readonly inline: Uint8Array | undefined;
}

/** What a superblock is made of. */
export interface SuperblockContent {
  /** The commit that must be there; `undefined` for none. */
  readonly from: Checksum | undefined;
  /** The commit that the delta makes. */
  readonly to: Checksum;
  /** Its commit object. */
  readonly commitBytes: Uint8Array;
  /** Its detached metadata. */
  readonly detached: MetadataEntries | undefined;
  /** When the delta was made, seconds since 1970. */
  readonly timestamp: bigint;
  /** Its parts in order. */
  readonly parts: readonly WrittenPart[];
  /** Objects to fetch besides. */
  readonly fallbacks: readonly DeltaFallback[];
}

/** Serializes a superblock. */
export function encodeDeltaSuperblock(content: SuperblockContent): Uint8Array<ArrayBuffer> {
  const path = deltaPath(content);
  const metadata: [string, Variant][] = [[ENDIANNESS_KEY, new Variant("y", LITTLE_ENDIAN)]];
  if (content.detached !== undefined) {
    const value = content.detached as VariantValue;
    metadata.push([`${path}/commitmeta`, new Variant("a{sv}", value)]);
  }
  content.parts.forEach(({ inline }, index) => {
    if (inline === undefined) return;
    metadata.push([`${path}/${index}`, new Variant("(yay)", [inline[0]!, inline.subarray(1)])]);
  });
  return encodeVariant(SUPERBLOCK_TYPE, [
    metadata,
    swap64(content.timestamp),
    content.from === undefined ? new Uint8Array(0) : checksumBytes(content.from),
    checksumBytes(content.to),
    decodeVariant(COMMIT_TYPE, content.commitBytes),
    new Uint8Array(0),
    content.parts.map(({ checksum, size, uncompressedSize, objects }) => [
      0,
      checksumBytes(checksum),
      BigInt(size),
      BigInt(uncompressedSize),
      objects,
    ]),
    content.fallbacks.map(({ kind, checksum, size, uncompressedSize }) => [
      OBJECT_NUMBER[kind],
      checksumBytes(checksum),
      BigInt(size),
      BigInt(uncompressedSize),
    ]),
  ]);
}

/** Puts a superblock into the wrapper with signatures over it (spec: ostree 7.2). */
export function encodeDeltaEnvelope(
  superblock: Uint8Array,
  signatures: readonly (readonly [string, Variant])[],
): Uint8Array<ArrayBuffer> {
  const magic = new DataView(new TextEncoder().encode(SIGNED_MAGIC).buffer).getBigUint64(0, true);
  return encodeVariant(SIGNED_TYPE, [magic, superblock, signatures as unknown as VariantValue]);
}
