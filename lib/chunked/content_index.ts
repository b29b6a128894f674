/**
 * Which contents a layer has, by their sha256: a file of sorted tables beside the repository's
 * objects, which are named by another digest (spec: zstd-chunked 8). It is a hint and no more: what
 * is found through it is hashed with the layer that it goes into.
 *
 * @module
 */
import {
  type ByteString,
  FormatError,
  fromByteString,
  type HashProvider,
  type ObjectId,
  objectIdFromBytes,
  Reader,
  toByteString,
  writeByteString,
  writeHex,
} from "../base/mod.ts";
import { DIGEST_SIZE } from "./layout.ts";

const MAGIC = "cfsidx1\0";

/** The head of the file, little-endian. */
const HEADER = {
  magic: [0, "8"],
  digestSize: [8, "u32"],
  flags: [12, "u32"],
  files: [16, "u64"],
  chunks: [24, "u64"],
  objects: [32, "u64"],
  small: [40, "u64"],
} as const;
const HEADER_SIZE = 64;

/** A file's content that is an object; behind the sha256. */
const FILE = { object: [32, "u32"], size: [36, "u64"] } as const;
const FILE_SIZE = 44;

/** A part of an object; behind the sha256. */
const CHUNK = { object: [32, "u32"], offset: [36, "u64"], size: [44, "u32"] } as const;
const CHUNK_SIZE = 48;

/** A content without an object; behind the sha256. */
const SMALL = { size: [32, "u8"], bytes: [33, "64"] } as const;
const SMALL_SIZE = 97;

/** Largest content that has no object (spec: oci 2.1). */
export const SMALL_MAX = 64;

const FORMAT = "content index";

/** Where a content or a part of one is. */
export interface IndexedContent {
  /** The object that has it. */
  readonly object: ObjectId;
  /** Where it starts there, in bytes. */
  readonly offset: number;
}

/** A sorted table of records that begin with a sha256. */
class Table {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #stride: number;
  readonly #count: number;

  constructor(bytes: Uint8Array, stride: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#stride = stride;
    this.#count = bytes.length / stride;
  }

  #compare(at: number, digest: Uint8Array): number {
    for (let i = 0; i < DIGEST_SIZE; i++) {
      const difference = this.#bytes[at + i]! - digest[i]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** Where the first record with this digest starts; -1 when there is none. */
  find(digest: Uint8Array): number {
    let low = 0;
    for (let high = this.#count; low < high;) {
      const middle = (low + high) >>> 1;
      if (this.#compare(middle * this.#stride, digest) < 0) low = middle + 1;
      else high = middle;
    }
    const at = low * this.#stride;
    return low < this.#count && this.#compare(at, digest) === 0 ? at : -1;
  }

  get view(): DataView {
    return this.#view;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }
}

/** An index that was read. */
export class ContentIndex {
  readonly #digestSize: number;
  readonly #objects: Uint8Array;
  readonly #files: Table;
  readonly #chunks: Table;
  readonly #small: Table;

  /**
   * Reads an index.
   *
   * @param bytes the file; must not change as long as the index is used
   * @throws {FormatError} when it is damaged, or of a repository with other digests
   */
  constructor(bytes: Uint8Array, options: { digestSize: number; hash: HashProvider }) {
    const { digestSize, hash } = options;
    const end = bytes.length - DIGEST_SIZE;
    if (end < HEADER_SIZE) throw new FormatError(FORMAT, "Index is shorter than its header");
    const check = hash.stream("sha256");
    check.update(bytes.subarray(0, end));
    if (toByteString(check.digest()) !== toByteString(bytes.subarray(end))) {
      throw new FormatError(FORMAT, "Index is damaged");
    }
    const head = new Reader(bytes, FORMAT, 0, end);
    if (toByteString(head.bytes(MAGIC.length)) !== MAGIC) {
      throw new FormatError(FORMAT, "Index has an unknown magic");
    }
    this.#digestSize = head.u32();
    if (this.#digestSize !== digestSize) {
      throw new FormatError(FORMAT, `Index has digests of ${this.#digestSize} bytes`);
    }
    head.u32(); // flags: none are known
    const count = () => head.size("count");
    const [files, chunks, objects, small] = [count(), count(), count(), count()];
    const body = new Reader(bytes, FORMAT, HEADER_SIZE, end);
    const section = (number: number, size: number) => {
      body.checkCount(number, size);
      return body.bytes(number * size);
    };
    this.#objects = section(objects, digestSize);
    this.#files = new Table(section(files, FILE_SIZE), FILE_SIZE);
    this.#chunks = new Table(section(chunks, CHUNK_SIZE), CHUNK_SIZE);
    this.#small = new Table(section(small, SMALL_SIZE), SMALL_SIZE);
    body.finish();
  }

  #object(index: number): ObjectId | undefined {
    const at = index * this.#digestSize;
    if (at >= this.#objects.length) return undefined;
    return objectIdFromBytes(this.#objects, at, at + this.#digestSize);
  }

  /** The object that a file of this content and size is. */
  file(digest: Uint8Array, size: number): ObjectId | undefined {
    const at = this.#files.find(digest);
    if (at < 0) return undefined;
    const { view } = this.#files;
    if (view.getBigUint64(at + FILE.size[0], true) !== BigInt(size)) return undefined;
    return this.#object(view.getUint32(at + FILE.object[0], true));
  }

  /** Where a chunk of this content and size is. */
  chunk(digest: Uint8Array, size: number): IndexedContent | undefined {
    const at = this.#chunks.find(digest);
    if (at < 0) return undefined;
    const { view } = this.#chunks;
    if (view.getUint32(at + CHUNK.size[0], true) !== size) return undefined;
    const offset = view.getBigUint64(at + CHUNK.offset[0], true);
    const object = this.#object(view.getUint32(at + CHUNK.object[0], true));
    if (object === undefined || offset > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
    return { object, offset: Number(offset) };
  }

  /** The content itself, of a small file; a view, whose digest the caller checks. */
  small(digest: Uint8Array, size: number): Uint8Array | undefined {
    const at = this.#small.find(digest);
    if (at < 0 || size > SMALL_MAX) return undefined;
    const { bytes } = this.#small;
    if (bytes[at + SMALL.size[0]] !== size) return undefined;
    const start = at + SMALL.bytes[0];
    return bytes.subarray(start, start + size);
  }
}

/** Collects contents and writes their index; each content once. */
export class ContentIndexBuilder {
  readonly #digestSize: number;
  readonly #objects = new Map<ObjectId, number>();
  readonly #files = new Map<ByteString, { object: number; size: number }>();
  readonly #chunks = new Map<ByteString, { object: number; offset: number; size: number }>();
  readonly #small = new Map<ByteString, Uint8Array>();

  /** Starts an empty index of a repository whose digests have this size in bytes. */
  constructor(digestSize: number) {
    this.#digestSize = digestSize;
  }

  /** Contents so far. */
  get size(): number {
    return this.#files.size + this.#chunks.size + this.#small.size;
  }

  #object(id: ObjectId): number {
    let index = this.#objects.get(id);
    if (index === undefined) this.#objects.set(id, index = this.#objects.size);
    return index;
  }

  /** Adds a file's content. */
  file(digest: Uint8Array, content: { object: ObjectId; size: number }): void {
    const object = this.#object(content.object);
    this.#files.set(toByteString(digest), { object, size: content.size });
  }

  /** Adds a part of an object. */
  chunk(digest: Uint8Array, content: IndexedContent & { size: number }): void {
    const { offset, size } = content;
    if (size >= 2 ** 32) return;
    const object = this.#object(content.object);
    this.#chunks.set(toByteString(digest), { object, offset, size });
  }

  /** Adds a content of at most {@linkcode SMALL_MAX} bytes, which are copied. */
  small(digest: Uint8Array, bytes: Uint8Array): void {
    if (bytes.length <= SMALL_MAX) this.#small.set(toByteString(digest), bytes.slice());
  }

  /** The file. */
  finish(hash: HashProvider): Uint8Array<ArrayBuffer> {
    const tables = this.#objects.size * this.#digestSize + this.#files.size * FILE_SIZE +
      this.#chunks.size * CHUNK_SIZE + this.#small.size * SMALL_SIZE;
    const out = new Uint8Array(HEADER_SIZE + tables + DIGEST_SIZE);
    const view = new DataView(out.buffer);
    writeByteString(MAGIC, out, HEADER.magic[0]);
    view.setUint32(HEADER.digestSize[0], this.#digestSize, true);
    view.setBigUint64(HEADER.files[0], BigInt(this.#files.size), true);
    view.setBigUint64(HEADER.chunks[0], BigInt(this.#chunks.size), true);
    view.setBigUint64(HEADER.objects[0], BigInt(this.#objects.size), true);
    view.setBigUint64(HEADER.small[0], BigInt(this.#small.size), true);
    let at = HEADER_SIZE;
    for (const id of this.#objects.keys()) {
      writeHex(id, out, at);
      at += this.#digestSize;
    }
    for (const [digest, { object, size }] of sorted(this.#files)) {
      out.set(fromByteString(digest), at);
      view.setUint32(at + FILE.object[0], object, true);
      view.setBigUint64(at + FILE.size[0], BigInt(size), true);
      at += FILE_SIZE;
    }
    for (const [digest, { object, offset, size }] of sorted(this.#chunks)) {
      out.set(fromByteString(digest), at);
      view.setUint32(at + CHUNK.object[0], object, true);
      view.setBigUint64(at + CHUNK.offset[0], BigInt(offset), true);
      view.setUint32(at + CHUNK.size[0], size, true);
      at += CHUNK_SIZE;
    }
    for (const [digest, bytes] of sorted(this.#small)) {
      out.set(fromByteString(digest), at);
      out[at + SMALL.size[0]] = bytes.length;
      out.set(bytes, at + SMALL.bytes[0]);
      at += SMALL_SIZE;
    }
    const check = hash.stream("sha256");
    check.update(out.subarray(0, at));
    out.set(check.digest(), at);
    return out;
  }
}

function sorted<T>(map: ReadonlyMap<ByteString, T>): [ByteString, T][] {
  return [...map].sort(([a], [b]) => a < b ? -1 : 1);
}
