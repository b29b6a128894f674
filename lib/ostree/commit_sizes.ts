/** Sizes of a commit's objects, as some commits tell them (spec: ostree 2.1). */
import { FormatError } from "../base/mod.ts";
import { type Checksum, CHECKSUM_SIZE, checksumFromBytes } from "./checksum.ts";
import { type Commit, metadataValue } from "./commit_object.ts";

const SIZES_KEY = "ostree.sizes";
/** Most bytes of a number, seven bits in each. */
const MAX_VARINT = 10;

/** The size of an object. */
export interface ObjectSize {
  /** Its checksum. */
  readonly checksum: Checksum;
  /** Bytes that it has in an archive repository. */
  readonly packed: number;
}

/**
 * The sizes that a commit tells; nobody vouches for them.
 *
 * @returns undefined when it tells none
 * @throws {FormatError} when they are malformed
 */
export function objectSizes({ metadata }: Commit): readonly ObjectSize[] | undefined {
  const entries = metadataValue(metadata, SIZES_KEY, "aay") as readonly Uint8Array[] | undefined;
  return entries?.map((bytes) => {
    if (bytes.length < CHECKSUM_SIZE) throw fault();
    // The unpacked size and the kind of the object follow.
    const checksum = checksumFromBytes(bytes.subarray(0, CHECKSUM_SIZE));
    return { checksum, packed: readVarint(bytes, CHECKSUM_SIZE) };
  });
}

function readVarint(bytes: Uint8Array, start: number): number {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < MAX_VARINT; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) throw fault();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
  throw fault();
}

function fault(): FormatError {
  return new FormatError("ostree commit", `Invalid ${SIZES_KEY}`);
}
