/** The inline chunk of a commit's splitstream: all its objects, sorted (spec: ostree 4.1). */
import { FormatError, type ObjectId, toHex, writeHex } from "../base/mod.ts";
import { type Checksum, CHECKSUM_SIZE } from "./checksum.ts";

/** An object of a commit. */
export interface CommitEntry {
  /** Metadata as it is; of files the framed archive header, and inline content after it. */
  readonly data: Uint8Array;
  /** The object with a file's content, when that is not inline. */
  readonly external: ObjectId | undefined;
}

/** Fixed part of the chunk. */
const CHUNK = { commit: [0, "u32"], flags: [4, "u32"], buckets: [8, "u32[256]"] } as const;
const BUCKETS = 256;
const IDS_AT = 8 + 4 * BUCKETS;
/** One row of the table of objects. */
const ROW = { offset: [0, "u32"], size: [4, "u32"], external: [8, "u32"] } as const;
const ROW_SIZE = 12;
/** Unit of offsets, and alignment of data. */
const UNIT = 8;
const NOT_EXTERNAL = 0xffffffff;

const FORMAT = "ostree commit stream";

/** A chunk that was written, and what its external indexes mean. */
export interface EncodedChunk {
  /** The bytes of the chunk. */
  readonly bytes: Uint8Array;
  /** External objects in the order of their indexes. */
  readonly externals: readonly ObjectId[];
}

/**
 * Serializes the objects of a commit.
 *
 * @param entries objects by checksum, the commit's among them
 * @throws {FormatError} when there is too much
 */
export function encodeChunk(
  commit: Checksum,
  entries: ReadonlyMap<Checksum, CommitEntry>,
): EncodedChunk {
  const ids = [...entries.keys()].sort();
  const rowsAt = IDS_AT + CHECKSUM_SIZE * ids.length;
  const contentAt = rowsAt + ROW_SIZE * ids.length;
  let total = 0;
  for (const { data } of entries.values()) total += padded(data.length);
  if (total / UNIT > NOT_EXTERNAL) throw new FormatError(FORMAT, `${total} bytes do not fit`);
  const bytes = new Uint8Array(contentAt + total);
  const view = new DataView(bytes.buffer);
  const externals = new Map<ObjectId, number>();
  let at = 0;
  ids.forEach((id, index) => {
    const { data, external } = entries.get(id)!;
    if (id === commit) view.setUint32(CHUNK.commit[0], index, true);
    writeHex(id, bytes, IDS_AT + CHECKSUM_SIZE * index);
    const bucket = CHUNK.buckets[0] + 4 * bytes[IDS_AT + CHECKSUM_SIZE * index]!;
    view.setUint32(bucket, index + 1, true);
    const row = rowsAt + ROW_SIZE * index;
    view.setUint32(row + ROW.offset[0], at / UNIT, true);
    view.setUint32(row + ROW.size[0], data.length, true);
    view.setUint32(row + ROW.external[0], externalIndex(externals, external), true);
    bytes.set(data, contentAt + at);
    at += padded(data.length);
  });
  let previous = 0;
  for (let i = 0; i < BUCKETS; i++) {
    // Buckets without an id end where the one before ends.
    previous = Math.max(previous, view.getUint32(CHUNK.buckets[0] + 4 * i, true));
    view.setUint32(CHUNK.buckets[0] + 4 * i, previous, true);
  }
  return { bytes, externals: [...externals.keys()] };
}

function externalIndex(externals: Map<ObjectId, number>, id: ObjectId | undefined): number {
  if (id === undefined) return NOT_EXTERNAL;
  const known = externals.get(id);
  if (known !== undefined) return known;
  externals.set(id, externals.size);
  return externals.size - 1;
}

function padded(size: number): number {
  return Math.ceil(size / UNIT) * UNIT;
}

/** The objects of a stored commit, looked up by checksum. */
export class CommitChunk {
  /** The commit. */
  readonly commit: Checksum;
  /** Number of objects. */
  readonly count: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rowsAt: number;
  readonly #contentAt: number;
  readonly #external: (index: number) => ObjectId;
  readonly #externals: number;
  /** The checksum that is looked for. */
  readonly #wanted: Uint8Array = new Uint8Array(CHECKSUM_SIZE);

  /**
   * Checks the tables; the data of objects are views of `bytes`.
   *
   * @param options.externals number of external objects
   * @param options.external gives the id of one by its index
   * @throws {FormatError} in the reference's words where it has some
   */
  constructor(
    bytes: Uint8Array,
    options: { externals: number; external: (index: number) => ObjectId },
  ) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#external = options.external;
    this.#externals = options.externals;
    if (bytes.length < IDS_AT) throw new FormatError(FORMAT, "Invalid commit header");
    this.count = this.#bucket(BUCKETS - 1);
    this.#rowsAt = IDS_AT + CHECKSUM_SIZE * this.count;
    this.#contentAt = this.#rowsAt + ROW_SIZE * this.count;
    if (this.#rowsAt > bytes.length) throw new FormatError(FORMAT, "Invalid object ID array");
    if (this.#contentAt > bytes.length) throw new FormatError(FORMAT, "Invalid data refs array");
    this.#checkIds();
    const index = this.#view.getUint32(CHUNK.commit[0], true);
    if (index >= this.count) throw new FormatError(FORMAT, "commit id out of bounds");
    this.commit = this.id(index);
  }

  #bucket(index: number): number {
    return this.#view.getUint32(CHUNK.buckets[0] + 4 * index, true);
  }

  /** Checks that ids ascend and that each is in its bucket. */
  #checkIds(): void {
    const bytes = this.#bytes;
    let index = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const end = this.#bucket(bucket);
      if (end < index || end > this.count) {
        throw new FormatError(FORMAT, "Invalid commit bucket data");
      }
      for (; index < end; index++) {
        const at = IDS_AT + CHECKSUM_SIZE * index;
        if (bytes[at] !== bucket) throw new FormatError(FORMAT, "Invalid commit bucket data");
        if (index > 0 && compareIds(bytes, at - CHECKSUM_SIZE, bytes, at) >= 0) {
          throw new FormatError(FORMAT, "Invalid object ID array: not in ascending order");
        }
      }
    }
  }

  /** Checksum of the object at a position. */
  id(index: number): Checksum {
    const at = IDS_AT + CHECKSUM_SIZE * index;
    return toHex(this.#bytes, at, at + CHECKSUM_SIZE) as Checksum;
  }

  /** Position of an object, -1 when it is not there. */
  indexOf(checksum: Checksum): number {
    const wanted = this.#wanted;
    writeHex(checksum, wanted, 0);
    const bucket = wanted[0]!;
    let low = bucket === 0 ? 0 : this.#bucket(bucket - 1);
    let high = this.#bucket(bucket);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const difference = compareIds(this.#bytes, IDS_AT + CHECKSUM_SIZE * middle, wanted, 0);
      if (difference === 0) return middle;
      if (difference < 0) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  /**
   * The object at a position.
   *
   * @throws {FormatError} when its place or its external object is out of range
   */
  entry(index: number): CommitEntry {
    const row = this.#rowsAt + ROW_SIZE * index;
    const start = this.#contentAt + this.#view.getUint32(row + ROW.offset[0], true) * UNIT;
    const end = start + this.#view.getUint32(row + ROW.size[0], true);
    if (end > this.#bytes.length) {
      throw new FormatError(FORMAT, "Object data offset/size out of bounds");
    }
    const external = this.#view.getUint32(row + ROW.external[0], true);
    if (external !== NOT_EXTERNAL && external >= this.#externals) {
      throw new FormatError(FORMAT, `External ref index ${external} out of range`);
    }
    return {
      data: this.#bytes.subarray(start, end),
      external: external === NOT_EXTERNAL ? undefined : this.#external(external),
    };
  }

  /** An object by checksum; `undefined` when it is not there. */
  get(checksum: Checksum): CommitEntry | undefined {
    const index = this.indexOf(checksum);
    return index < 0 ? undefined : this.entry(index);
  }

  /** Checksums of all objects, ascending. */
  *ids(): Generator<Checksum, void, undefined> {
    for (let i = 0; i < this.count; i++) yield this.id(i);
  }
}

/** Compares two checksums by their bytes. */
function compareIds(a: Uint8Array, from: number, b: Uint8Array, to: number): number {
  for (let i = 0; i < CHECKSUM_SIZE; i++) {
    const difference = a[from + i]! - b[to + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
