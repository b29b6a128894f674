/** Parts of static deltas: decompressed, checked, and taken apart (spec: ostree 7.3). */
import { createHash } from "node:crypto";
import { DigestMismatchError, FormatError } from "../base/mod.ts";
import { NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import type { DeltaPartEntry } from "./delta_superblock.ts";
import type { VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { xattrsFromVariant } from "./xattr_list.ts";

/** Compression bytes of parts. */
export const PART_COMPRESSION = { none: 0, xz: 0x78 } as const;
/** Variant type of a part without compression. */
export const PART_TYPE = "(a(uuu)aa(ayay)ayay)";

/** The same framing with the members left as bytes: none of them is aligned in another way. */
const FRAME_TYPE = "(ayayayay)";
const FORMAT = "ostree delta";
const MODE = { uid: [0, "u32"], gid: [4, "u32"], mode: [8, "u32"] } as const;
const MODE_SIZE = 12;
const MAX_XATTRS = 16 * 1024 * 1024;
/** What a part may always take decompressed, and what none may. */
const ALWAYS = 64 * 1024 * 1024;
const NEVER = 2 ** 31 - 1;

/** Decompresses xz; throws {@linkcode FormatError} when the result is over `limit` bytes. */
export type Unxz = (data: Uint8Array, limit: number) => Promise<Uint8Array>;

/** Owner and permissions of a file object. */
export interface PartMode {
  /** Owner. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** Type bits and permissions. */
  readonly mode: number;
}

/** A part that is ready to run. Views share memory with what was opened. */
export class DeltaPart {
  readonly #modes: DataView;
  readonly #xattrs: readonly Xattrs[];
  /** What operations take their bytes from. */
  readonly payload: Uint8Array;
  /** The operations. */
  readonly operations: Uint8Array;

  /**
   * Takes a decompressed part apart.
   *
   * @throws {FormatError} when it is not in normal form
   */
  constructor(bytes: Uint8Array) {
    const [modes, xattrs, payload, operations] = decodeVariant(
      FRAME_TYPE,
      bytes,
    ) as unknown as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    if (modes.length % MODE_SIZE !== 0) {
      throw new FormatError(FORMAT, `modes of ${modes.length} bytes`);
    }
    if (xattrs.length > MAX_XATTRS) {
      throw new FormatError(FORMAT, `extended attributes of ${xattrs.length} bytes`);
    }
    this.#modes = new DataView(modes.buffer, modes.byteOffset, modes.byteLength);
    const sets = decodeVariant("aa(ayay)", xattrs) as readonly VariantValue[];
    this.#xattrs = sets.map((set) => xattrsFromVariant(set, { format: FORMAT }));
    this.payload = payload;
    this.operations = operations;
  }

  /**
   * The mode with an index.
   *
   * @throws {FormatError} when there is none
   */
  mode(index: number): PartMode {
    if (index >= this.#modes.byteLength / MODE_SIZE) {
      throw new FormatError(FORMAT, `mode index ${index} out of range`);
    }
    const at = index * MODE_SIZE;
    return {
      uid: this.#modes.getUint32(at + MODE.uid[0], false),
      gid: this.#modes.getUint32(at + MODE.gid[0], false),
      mode: this.#modes.getUint32(at + MODE.mode[0], false),
    };
  }

  /**
   * The extended attributes with an index.
   *
   * @throws {FormatError} when there are none
   */
  xattrs(index: number): Xattrs {
    const found = this.#xattrs[index];
    if (found === undefined) throw new FormatError(FORMAT, `xattr index ${index} out of range`);
    return found.size === 0 ? NO_XATTRS : found;
  }

  /**
   * A slice of the payload.
   *
   * @throws {FormatError} when it is not inside
   */
  slice(offset: number, size: number): Uint8Array {
    const { length } = this.payload;
    if (offset > length || size > length - offset) {
      const message = `payload slice ${offset}..${offset + size} out of range (len=${length})`;
      throw new FormatError(FORMAT, message);
    }
    return this.payload.subarray(offset, offset + size);
  }
}

/**
 * Checks a part, decompresses it and takes it apart.
 *
 * @param file the part's file; not needed when the superblock holds the part
 * @throws {FormatError} when it is malformed or larger than announced
 * @throws {DigestMismatchError} when it is not the announced part
 */
export async function openDeltaPart(
  entry: DeltaPartEntry,
  file: Uint8Array | undefined,
  unxz: Unxz,
): Promise<DeltaPart> {
  const { compression, data } = entry.inline ?? splitPart(file);
  const hash = createHash("sha256").update(Uint8Array.of(compression)).update(data);
  const actual = hash.digest("hex");
  if (actual !== entry.checksum) {
    throw new DigestMismatchError("delta part", entry.checksum, actual, {
      message: `delta part ${entry.index} checksum mismatch: expected ${entry.checksum}, ` +
        `got ${actual}`,
    });
  }
  switch (compression) {
    case PART_COMPRESSION.none:
      return new DeltaPart(data);
    case PART_COMPRESSION.xz:
      return new DeltaPart(await unxz(data, decompressedLimit(entry)));
    default:
      throw new FormatError(
        FORMAT,
        `unknown delta part compression type 0x${compression.toString(16)}`,
      );
  }
}

function splitPart(file: Uint8Array | undefined): { compression: number; data: Uint8Array } {
  const compression = file?.[0];
  if (file === undefined || compression === undefined) {
    throw new FormatError(FORMAT, "empty delta part");
  }
  return { compression, data: file.subarray(1) };
}

function decompressedLimit(entry: DeltaPartEntry): number {
  return Math.min(NEVER, Math.max(ALWAYS, 2 * entry.uncompressedSize));
}
