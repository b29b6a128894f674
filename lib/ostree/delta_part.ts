/** Parts of static deltas: decompressed, checked, and taken apart (spec: ostree 7.3). */
import { createHash } from "node:crypto";
import { DigestMismatchError, FormatError } from "../base/mod.ts";
import { addressable, type Fd, fstat, preadFull } from "../../ffi/mod.ts";
import { NO_XATTRS, type Xattrs } from "../tree/mod.ts";
import type { DeltaPartEntry } from "./delta_superblock.ts";
import { type OpenScratch, unxz } from "./delta_xz.ts";
import { BytesInFile, BytesInMemory, BytesWithin, type PartBytes, piecesOf } from "./part_bytes.ts";
import type { VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { containerSize, offsetWidth } from "./variant_type.ts";
import { xattrsFromVariant } from "./xattr_list.ts";

/** Compression bytes of parts. */
export const PART_COMPRESSION = { none: 0, xz: 0x78 } as const;

/** Framing offsets: of all members but the last. */
const OFFSETS = 3;
const FORMAT = "ostree delta";
const MODE = { uid: [0, "u32"], gid: [4, "u32"], mode: [8, "u32"] } as const;
const MODE_SIZE = 12;
/** What is kept in memory, at most; attributes take several times as much there. */
const MAX_IN_MEMORY = {
  modes: 64 * 1024 * 1024,
  "extended attributes": 16 * 1024 * 1024,
  operations: 64 * 1024 * 1024,
} as const;
/** What a part may always take decompressed. */
const ALWAYS = 64 * 1024 * 1024;
/** What no part may take, in bytes, packed or not. */
export const MAX_PART_SIZE: number = 2 ** 31 - 1;

/** Owner and permissions of a file object. */
export interface PartMode {
  /** Owner. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
  /** Type bits and permissions. */
  readonly mode: number;
}

/** Where the members of a part are. */
interface Frame {
  readonly modes: PartBytes;
  readonly xattrs: PartBytes;
  readonly payload: PartBytes;
  readonly operations: PartBytes;
}

/** A part that is ready to run; what it was made of must stay open as long as it runs. */
export class DeltaPart {
  readonly #modes: DataView;
  readonly #xattrs: readonly Xattrs[];
  readonly #payload: PartBytes;
  /** The operations. */
  readonly operations: Uint8Array;

  /**
   * Takes a decompressed part apart.
   *
   * @throws {FormatError} when it is not in normal form
   */
  constructor(content: Uint8Array | PartBytes) {
    const { modes, xattrs, payload, operations } = splitFrame(
      content instanceof Uint8Array ? new BytesInMemory(content) : content,
    );
    if (modes.size % MODE_SIZE !== 0) {
      throw new FormatError(FORMAT, `modes of ${modes.size} bytes`);
    }
    const table = wholly(modes, "modes");
    this.#modes = new DataView(table.buffer, table.byteOffset, table.byteLength);
    const sets = decodeVariant("aa(ayay)", wholly(xattrs, "extended attributes"));
    this.#xattrs = (sets as readonly VariantValue[]).map((set) =>
      xattrsFromVariant(set, { format: FORMAT })
    );
    this.#payload = payload;
    this.operations = wholly(operations, "operations");
  }

  /** Bytes of the payload. */
  get payloadSize(): number {
    return this.#payload.size;
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
   * A slice of the payload, valid until the next one is taken.
   *
   * @throws {FormatError} when it is not inside
   */
  slice(offset: number, size: number): Uint8Array {
    return this.section(offset, size).get(0, size);
  }

  /**
   * A slice of the payload of any size.
   *
   * @throws {FormatError} when it is not inside
   */
  section(offset: number, size: number): PartBytes {
    const length = this.#payload.size;
    if (offset > length || size > length - offset) {
      const message = `payload slice ${offset}..${offset + size} out of range (len=${length})`;
      throw new FormatError(FORMAT, message);
    }
    return new BytesWithin(this.#payload, { start: offset, size });
  }
}

/** Splits `(a(uuu)aa(ayay)ayay)`: none of its members needs padding in front. */
function splitFrame(bytes: PartBytes): Frame {
  const { size } = bytes;
  const width = offsetWidth(size);
  const body = size - OFFSETS * width;
  const table = body < 0 ? undefined : bytes.get(body, OFFSETS * width).slice();
  const ends = table === undefined ? [] : Array.from(
    { length: OFFSETS },
    (_, i) => readOffset(table, { at: (OFFSETS - 1 - i) * width, width }),
  );
  ends.push(body);
  const sorted = ends.every((end, i) => end >= (ends[i - 1] ?? 0));
  if (size === 0 || body < 0 || !sorted || containerSize(body, OFFSETS) !== size) {
    throw new FormatError(FORMAT, `part of ${size} bytes is not in normal form`);
  }
  const member = (index: number): PartBytes => {
    const start = ends[index - 1] ?? 0;
    return new BytesWithin(bytes, { start, size: ends[index]! - start });
  };
  return { modes: member(0), xattrs: member(1), payload: member(2), operations: member(3) };
}

function readOffset(table: Uint8Array, { at, width }: { at: number; width: number }): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 0x100 + table[at + i]!;
  return value;
}

/** All bytes, which must be few enough to be kept. */
function wholly(bytes: PartBytes, what: keyof typeof MAX_IN_MEMORY): Uint8Array {
  if (bytes.size > MAX_IN_MEMORY[what]) {
    throw new FormatError(FORMAT, `${what} of ${bytes.size} bytes`);
  }
  return bytes.get(0, bytes.size).slice();
}

/** The file of a part: in memory, or open. */
export type PartFileContent = Uint8Array | Fd;

/** An open part and what it was made of. */
export class OpenDeltaPart implements Disposable {
  /** The part. */
  readonly part: DeltaPart;
  readonly #bytes: PartBytes;

  /** Takes a decompressed part apart. */
  constructor(bytes: PartBytes) {
    this.#bytes = bytes;
    try {
      this.part = new DeltaPart(bytes);
    } catch (error) {
      bytes[Symbol.dispose]();
      throw error;
    }
  }

  /** Closes its files. */
  [Symbol.dispose](): void {
    this.#bytes[Symbol.dispose]();
  }
}

/**
 * Checks a part, decompresses it and takes it apart. What is large is in files, not in memory.
 *
 * @param file the part's file, which is closed with the part; not needed when the superblock holds it
 * @param scratch opens an unnamed file for a large part
 * @throws {FormatError} when it is malformed or larger than announced
 * @throws {DigestMismatchError} when it is not the announced part
 */
export async function openDeltaPart(
  entry: DeltaPartEntry,
  file: PartFileContent | undefined,
  scratch: OpenScratch,
): Promise<OpenDeltaPart> {
  const { compression, data } = entry.inline === undefined
    ? splitPart(file)
    : { compression: entry.inline.compression, data: new BytesInMemory(entry.inline.data) };
  using cleanup = new DisposableStack();
  cleanup.use(data);
  const hash = createHash("sha256").update(Uint8Array.of(compression));
  for (const piece of piecesOf(data)) hash.update(piece);
  const actual = hash.digest("hex");
  if (actual !== entry.checksum) {
    throw new DigestMismatchError("delta part", entry.checksum, actual, {
      message: `delta part ${entry.index} checksum mismatch: expected ${entry.checksum}, ` +
        `got ${actual}`,
    });
  }
  switch (compression) {
    case PART_COMPRESSION.none:
      cleanup.move();
      return new OpenDeltaPart(data);
    case PART_COMPRESSION.xz:
      return new OpenDeltaPart(await unxz(data, decompressedLimit(entry), scratch));
    default:
      throw new FormatError(
        FORMAT,
        `unknown delta part compression type 0x${compression.toString(16)}`,
      );
  }
}

function splitPart(file: PartFileContent | undefined): { compression: number; data: PartBytes } {
  const empty = () => new FormatError(FORMAT, "empty delta part");
  if (file === undefined) throw empty();
  if (file instanceof Uint8Array) {
    if (file.length === 0) throw empty();
    return { compression: file[0]!, data: new BytesInMemory(file.subarray(1)) };
  }
  const { size } = fstat(file);
  const data = new BytesInFile(file, { start: 1, size: size - 1 });
  const first = addressable(1);
  if (preadFull(file, first, 0) === 1) return { compression: first[0]!, data };
  data[Symbol.dispose]();
  throw empty();
}

function decompressedLimit(entry: DeltaPartEntry): number {
  return Math.min(MAX_PART_SIZE, Math.max(ALWAYS, 2 * entry.uncompressedSize));
}
