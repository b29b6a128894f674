/** Writing static deltas: parts of whole objects and of pieces, superblocks (spec: ostree 7). */
import { fromByteString } from "../base/mod.ts";
import type { Xattrs } from "../tree/mod.ts";
import { type Checksum, checksumBytes, checksumOf } from "./checksum.ts";
import { COMMIT_TYPE, type MetadataEntries } from "./commit_object.ts";
import { DELTA_OP } from "./delta_machine.ts";
import { deltaPath } from "./delta_names.ts";
import { PART_COMPRESSION, PART_TYPE } from "./delta_part.ts";
import {
  type DeltaFallback,
  ENDIANNESS_KEY,
  LITTLE_ENDIAN,
  SIGNED_MAGIC,
  SIGNED_TYPE,
  SUPERBLOCK_TYPE,
} from "./delta_superblock.ts";
import { type FileHeader, isSymlink } from "./file_header.ts";
import { type MetadataKind, OBJECT_NUMBER } from "./object_kind.ts";
import type { SharedRun } from "./shared_runs.ts";
import { swap32, swap64, Variant, type VariantValue } from "./variant.ts";
import { decodeVariant } from "./variant_read.ts";
import { encodeVariant } from "./variant_write.ts";
import { xattrsToVariant } from "./xattr_list.ts";

/** What a file has in common with one of the base. */
export interface Likeness {
  /** The file object of the base. */
  readonly source: Checksum;
  /** What is the same, in the order of the new file. */
  readonly runs: readonly SharedRun[];
}

/** A part that is ready to be stored. */
export interface WrittenPart {
  /** Compression byte and data. */
  readonly bytes: Uint8Array;
  /** Bytes of the objects that it makes. */
  readonly uncompressedSize: number;
  /** Kinds and checksums of its objects. */
  readonly objects: Uint8Array;
}

/** Compresses; the result is an xz container. */
export type Xz = (data: Uint8Array) => Uint8Array;

/** Collects objects for one part. */
export class PartWriter {
  readonly #modes = new Map<string, { index: number; value: VariantValue }>();
  readonly #xattrs = new Map<string, { index: number; value: VariantValue }>();
  readonly #sources = new Map<Checksum, number>();
  readonly #payload: Uint8Array[] = [];
  readonly #objects: Uint8Array[] = [];
  readonly #operations: number[] = [];
  #size = 0;
  #made = 0;

  /** Bytes of the payload so far. */
  get size(): number {
    return this.#size;
  }

  /** Whether no object was added. */
  get empty(): boolean {
    return this.#objects.length === 0;
  }

  /** Adds a metadata object; the bytes must not change until the part is finished. */
  addMetadata(kind: MetadataKind, checksum: Checksum, bytes: Uint8Array): void {
    this.#object(OBJECT_NUMBER[kind], checksum);
    this.#emit(DELTA_OP.spliceClose, bytes.length, this.#put(bytes));
    this.#made += bytes.length;
  }

  /**
   * Adds a file object; the content must not change until the part is finished.
   *
   * @param file.like what need not be in the part since the base has it
   */
  addFile(
    checksum: Checksum,
    file: { header: FileHeader; content: Uint8Array; like?: Likeness },
  ): void {
    const { header, content, like } = file;
    this.#object(OBJECT_NUMBER.file, checksum);
    const mode = indexIn(
      this.#modes,
      `${header.uid} ${header.gid} ${header.mode}`,
      () => [header.uid, header.gid, header.mode].map(swap32),
    );
    const xattrs = indexIn(
      this.#xattrs,
      xattrsKey(header.xattrs),
      () => xattrsToVariant(header.xattrs),
    );
    if (isSymlink(header)) {
      const target = fromByteString(header.target);
      this.#emit(DELTA_OP.spliceClose, mode, xattrs, target.length, this.#put(target));
      return;
    }
    this.#made += content.length;
    if (like === undefined) {
      this.#emit(DELTA_OP.spliceClose, mode, xattrs, content.length, this.#put(content));
      return;
    }
    this.#emit(DELTA_OP.open, mode, xattrs, content.length);
    const source = this.#source(like.source);
    let at = 0;
    let reading = false;
    const literal = (end: number) => {
      if (end === at) return;
      if (reading) this.#emit(DELTA_OP.unsetSource);
      reading = false;
      this.#emit(DELTA_OP.write, end - at, this.#put(content.subarray(at, end)));
    };
    for (const run of like.runs) {
      literal(run.at);
      if (!reading) this.#emit(DELTA_OP.setSource, source);
      reading = true;
      this.#emit(DELTA_OP.write, run.length, run.from);
      at = run.at + run.length;
    }
    literal(content.length);
    this.#emit(DELTA_OP.close);
  }

  /** The part; `xz` compresses it when that is given. */
  finish(xz: Xz | undefined): WrittenPart {
    const plain = encodeVariant(PART_TYPE, [
      [...this.#modes.values()].map(({ value }) => value),
      [...this.#xattrs.values()].map(({ value }) => value),
      join(this.#payload),
      Uint8Array.from(this.#operations),
    ]);
    const compression = xz === undefined ? PART_COMPRESSION.none : PART_COMPRESSION.xz;
    return {
      bytes: join([Uint8Array.of(compression), xz?.(plain) ?? plain]),
      uncompressedSize: this.#made,
      objects: join(this.#objects),
    };
  }

  #object(kind: number, checksum: Checksum): void {
    this.#objects.push(Uint8Array.of(kind), checksumBytes(checksum));
  }

  #source(checksum: Checksum): number {
    let offset = this.#sources.get(checksum);
    if (offset === undefined) {
      offset = this.#put(checksumBytes(checksum));
      this.#sources.set(checksum, offset);
    }
    return offset;
  }

  #put(bytes: Uint8Array): number {
    const offset = this.#size;
    this.#payload.push(bytes);
    this.#size += bytes.length;
    return offset;
  }

  /** An operation and its numbers, seven bits a byte. */
  #emit(operation: number, ...numbers: number[]): void {
    this.#operations.push(operation);
    for (let number of numbers) {
      for (; number >= 0x80; number = Math.floor(number / 0x80)) {
        this.#operations.push(number % 0x80 + 0x80);
      }
      this.#operations.push(number);
    }
  }
}

function indexIn(
  table: Map<string, { index: number; value: VariantValue }>,
  key: string,
  make: () => VariantValue,
): number {
  let entry = table.get(key);
  if (entry === undefined) {
    entry = { index: table.size, value: make() };
    table.set(key, entry);
  }
  return entry.index;
}

function xattrsKey(xattrs: Xattrs): string {
  return xattrs.size === 0 ? "" : JSON.stringify([...xattrs].sort());
}

function join(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
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
  /** Put the parts inside. */
  readonly inline: boolean;
}

/** Serializes a superblock. */
export function encodeDeltaSuperblock(content: SuperblockContent): Uint8Array<ArrayBuffer> {
  const path = deltaPath(content);
  const metadata: [string, Variant][] = [[ENDIANNESS_KEY, new Variant("y", LITTLE_ENDIAN)]];
  if (content.detached !== undefined) {
    const value = content.detached as VariantValue;
    metadata.push([`${path}/commitmeta`, new Variant("a{sv}", value)]);
  }
  if (content.inline) {
    content.parts.forEach(({ bytes }, index) => {
      const value = [bytes[0]!, bytes.subarray(1)];
      metadata.push([`${path}/${index}`, new Variant("(yay)", value)]);
    });
  }
  return encodeVariant(SUPERBLOCK_TYPE, [
    metadata,
    swap64(content.timestamp),
    content.from === undefined ? new Uint8Array(0) : checksumBytes(content.from),
    checksumBytes(content.to),
    decodeVariant(COMMIT_TYPE, content.commitBytes),
    new Uint8Array(0),
    content.parts.map(({ bytes, uncompressedSize, objects }) => [
      0,
      checksumBytes(checksumOf(bytes)),
      BigInt(bytes.length),
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
