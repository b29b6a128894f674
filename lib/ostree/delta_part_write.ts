/** Writing parts of static deltas (spec: ostree 7.3). */
import { fromByteString } from "../base/mod.ts";
import { lzma } from "../../ffi/mod.ts";
import type { Xattrs } from "../tree/mod.ts";
import { type Checksum, checksumBytes, checksumOf } from "./checksum.ts";
import type { EncodedFile } from "./delta_encode.ts";
import { DELTA_OP } from "./delta_machine.ts";
import { PART_COMPRESSION } from "./delta_part.ts";
import { type FileHeader, isSymlink } from "./file_header.ts";
import { type MetadataKind, OBJECT_NUMBER } from "./object_kind.ts";
import { swap32, type VariantValue } from "./variant.ts";
import { containerSize, offsetWidth } from "./variant_type.ts";
import { encodeVariant } from "./variant_write.ts";
import { xattrsToVariant } from "./xattr_list.ts";

/** Dictionary of the least preset, in bytes; each preset above has one of twice the size. */
const DICTIONARY = 8 * 1024 * 1024;
/** Presets from the first one that looks as closely as the last, to the one that ostree uses. */
const PRESETS = { least: 6, most: 8 } as const;

/** A part that is complete, but for its compression. */
export interface LoosePart {
  /** The serialized part. */
  readonly plain: Uint8Array<ArrayBuffer>;
  /** Bytes of the objects that it makes. */
  readonly uncompressedSize: number;
  /** Kinds and checksums of its objects. */
  readonly objects: Uint8Array;
}

/** The file of a part. */
export interface PackedPart {
  /** Compression byte and data. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** SHA-256 of them. */
  readonly checksum: Checksum;
}

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

  /** Adds a symbolic link, or a file whose content must not change until the part is finished. */
  addWhole(checksum: Checksum, header: FileHeader, content: Uint8Array): void {
    this.#object(OBJECT_NUMBER.file, checksum);
    const link = isSymlink(header);
    const bytes = link ? fromByteString(header.target) : content;
    this.#emit(DELTA_OP.spliceClose, ...this.#attributes(header), bytes.length, this.#put(bytes));
    if (!link) this.#made += bytes.length;
  }

  /** Adds a file whose payload must not change until the part is finished. */
  addEncoded(checksum: Checksum, header: FileHeader, file: EncodedFile): void {
    const { payload, source, size } = file;
    if (source === undefined) return this.addWhole(checksum, header, payload);
    this.#object(OBJECT_NUMBER.file, checksum);
    this.#made += size;
    const at = this.#source(source);
    if (file.patch) {
      this.#emit(DELTA_OP.setSource, at);
      this.#emit(DELTA_OP.open, ...this.#attributes(header), size);
      this.#emit(DELTA_OP.patch, this.#put(payload), payload.length);
    } else {
      this.#emit(DELTA_OP.open, ...this.#attributes(header), size);
      this.#runs(file, at);
    }
    this.#emit(DELTA_OP.close);
    // Closing makes the payload the source again, but ostree's own deltas say so.
    if (file.patch) this.#emit(DELTA_OP.unsetSource);
  }

  /** Writes what is in runs from the source and all else from the payload. */
  #runs({ payload, runs, size }: EncodedFile, source: number): void {
    const start = this.#put(payload);
    let at = 0;
    let used = 0;
    let reading = false;
    const literal = (end: number) => {
      if (end === at) return;
      if (reading) this.#emit(DELTA_OP.unsetSource);
      reading = false;
      this.#emit(DELTA_OP.write, end - at, start + used);
      used += end - at;
    };
    for (let i = 0; i < runs.length; i += 3) {
      const [to, from, length] = [runs[i]!, runs[i + 1]!, runs[i + 2]!];
      literal(to);
      if (!reading) this.#emit(DELTA_OP.setSource, source);
      reading = true;
      this.#emit(DELTA_OP.write, length, from);
      at = to + length;
    }
    literal(size);
  }

  /** The part; nothing may be added any more. */
  finish(): LoosePart {
    const modes = encodeVariant("a(uuu)", [...this.#modes.values()].map(({ value }) => value));
    const xattrs = encodeVariant(
      "aa(ayay)",
      [...this.#xattrs.values()].map(({ value }) => value),
    );
    // Put together here since payloads are large: nothing is copied twice. No member needs padding.
    const ends = [modes.length, modes.length + xattrs.length];
    ends.push(ends[1]! + this.#size);
    const body = ends[2]! + this.#operations.length;
    const plain = new Uint8Array(containerSize(body, ends.length));
    fill(plain, [modes, xattrs, ...this.#payload.splice(0), Uint8Array.from(this.#operations)]);
    const width = offsetWidth(plain.length);
    ends.forEach((end, i) => {
      let at = plain.length - (i + 1) * width;
      for (let rest = end; rest > 0; rest = Math.floor(rest / 0x100)) plain[at++] = rest % 0x100;
    });
    return { plain, uncompressedSize: this.#made, objects: join(this.#objects) };
  }

  #object(kind: number, checksum: Checksum): void {
    this.#objects.push(Uint8Array.of(kind), checksumBytes(checksum));
  }

  #attributes({ uid, gid, mode, xattrs }: FileHeader): [mode: number, xattrs: number] {
    const owner = () => [uid, gid, mode].map(swap32);
    return [
      indexIn(this.#modes, `${uid} ${gid} ${mode}`, owner),
      indexIn(this.#xattrs, xattrsKey(xattrs), () => xattrsToVariant(xattrs)),
    ];
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

/**
 * Compresses a part, or does without; runs on any thread.
 *
 * @param options.compress needs liblzma
 */
export function packPart(
  { plain, compress }: { plain: Uint8Array; compress: boolean },
): PackedPart {
  const library = compress ? lzma() : undefined;
  const kind = library === undefined ? PART_COMPRESSION.none : PART_COMPRESSION.xz;
  const data = library?.compress(plain, presetFor(plain.length)) ?? plain;
  const bytes = join([Uint8Array.of(kind), data]);
  return { bytes, checksum: checksumOf(bytes) };
}

/** A dictionary that is larger than the data takes memory and does not help. */
function presetFor(size: number): number {
  let preset: number = PRESETS.least;
  for (let room = DICTIONARY; preset < PRESETS.most && room < size; room *= 2) preset++;
  return preset;
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
  fill(out, pieces);
  return out;
}

function fill(out: Uint8Array, pieces: readonly Uint8Array[]): void {
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
}
