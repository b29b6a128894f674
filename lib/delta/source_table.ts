/**
 * A table of the old image's files that all threads can read: building it once and sharing its
 * memory costs less than a copy of the tree in each worker.
 *
 * @module
 */
import {
  type ByteString,
  displayByteString,
  type ObjectId,
  toByteString,
  writeByteString,
} from "../base/mod.ts";
import { type DeltaSource, type SourceFile, sourceNotFound, sourcePath } from "./source.ts";

/** What a path leads to. */
export type SourceEntry =
  | { readonly type: "directory" | "other" }
  | { readonly type: "inline"; readonly data: Uint8Array }
  | { readonly type: "external"; readonly digest: ObjectId; readonly size: number };

/** The memory of a table; can be posted to workers, which then share it. */
export interface SourceTableMemory {
  /** Numbers of records plus one, by the hash of their paths; 0 is an empty slot. */
  readonly slots: SharedArrayBuffer;
  /** One record an entry; see `RECORD`. */
  readonly records: SharedArrayBuffer;
  /** Paths, contents of small files, and object ids as hex. */
  readonly bytes: SharedArrayBuffer;
  /** Where hashes start: images could be made whose paths all fall into one slot. */
  readonly seed: number;
}

/** Fields of a record: positions in 64-bit floats, which hold all sizes exactly. */
const RECORD = { path: 0, pathLength: 1, kind: 2, data: 3, dataLength: 4, size: 5 } as const;
const RECORD_FIELDS = 6;

const KIND = ["directory", "other", "inline", "external"] as const;

/** Slots for each entry, at least; keeps searches short. */
const SLOTS_AN_ENTRY = 2;
const FNV_PRIME = 0x01000193;
const MIX_A = 0x85ebca6b;
const MIX_B = 0xc2b2ae35;

function hash(path: ByteString, seed: number): number {
  let value = seed;
  for (let i = 0; i < path.length; i++) {
    value = Math.imul(value ^ path.charCodeAt(i), FNV_PRIME);
  }
  // The low bits alone would only depend on the low bits of the seed.
  value = Math.imul(value ^ value >>> 16, MIX_A);
  value = Math.imul(value ^ value >>> 13, MIX_B);
  return (value ^ value >>> 16) >>> 0;
}

/**
 * Lays out a table.
 *
 * @param entries by path: components joined by `/`, without a leading one
 */
export function buildSourceTable(
  entries: ReadonlyMap<ByteString, SourceEntry>,
): SourceTableMemory {
  let size = 0;
  for (const [path, entry] of entries) {
    size += path.length;
    if (entry.type === "inline") size += entry.data.length;
    else if (entry.type === "external") size += entry.digest.length;
  }
  let slotCount = 2;
  while (slotCount < entries.size * SLOTS_AN_ENTRY) slotCount *= 2;
  const memory = {
    slots: new SharedArrayBuffer(slotCount * Int32Array.BYTES_PER_ELEMENT),
    records: new SharedArrayBuffer(
      entries.size * RECORD_FIELDS * Float64Array.BYTES_PER_ELEMENT,
    ),
    bytes: new SharedArrayBuffer(size),
    seed: crypto.getRandomValues(new Uint32Array(1))[0]!,
  };
  const slots = new Int32Array(memory.slots);
  const records = new Float64Array(memory.records);
  const bytes = new Uint8Array(memory.bytes);
  let used = 0;
  let number = 0;
  for (const [path, entry] of entries) {
    const at = number * RECORD_FIELDS;
    records[at + RECORD.path] = used;
    records[at + RECORD.pathLength] = path.length;
    records[at + RECORD.kind] = KIND.indexOf(entry.type);
    used = writeByteString(path, bytes, used);
    records[at + RECORD.data] = used;
    if (entry.type === "inline") {
      bytes.set(entry.data, used);
      used += entry.data.length;
      records[at + RECORD.size] = entry.data.length;
    } else if (entry.type === "external") {
      used = writeByteString(entry.digest, bytes, used);
      records[at + RECORD.size] = entry.size;
    }
    records[at + RECORD.dataLength] = used - records[at + RECORD.data]!;
    let slot = hash(path, memory.seed) % slotCount;
    while (slots[slot] !== 0) slot = (slot + 1) % slotCount;
    slots[slot] = ++number;
  }
  return memory;
}

/** Looks paths up in a table. */
export class SourceTable {
  readonly #slots: Int32Array;
  readonly #records: Float64Array;
  readonly #bytes: Uint8Array;
  readonly #seed: number;

  /** Reads memory of {@linkcode buildSourceTable}. */
  constructor(memory: SourceTableMemory) {
    this.#seed = memory.seed;
    this.#slots = new Int32Array(memory.slots);
    this.#records = new Float64Array(memory.records);
    this.#bytes = new Uint8Array(memory.bytes);
  }

  /** Number of entries. */
  get size(): number {
    return this.#records.length / RECORD_FIELDS;
  }

  /** What is at a path; `undefined` when there is nothing. */
  find(path: ByteString): SourceEntry | undefined {
    const count = this.#slots.length;
    for (let slot = hash(path, this.#seed) % count;; slot = (slot + 1) % count) {
      const number = this.#slots[slot]!;
      if (number === 0) return undefined;
      const at = (number - 1) * RECORD_FIELDS;
      if (this.#isPath(at, path)) return this.#entry(at);
    }
  }

  #isPath(at: number, path: ByteString): boolean {
    const length = this.#records[at + RECORD.pathLength]!;
    if (length !== path.length) return false;
    const start = this.#records[at + RECORD.path]!;
    for (let i = 0; i < length; i++) {
      if (this.#bytes[start + i] !== path.charCodeAt(i)) return false;
    }
    return true;
  }

  #entry(at: number): SourceEntry {
    const type = KIND[this.#records[at + RECORD.kind]!]!;
    const start = this.#records[at + RECORD.data]!;
    const data = this.#bytes.subarray(start, start + this.#records[at + RECORD.dataLength]!);
    if (type === "inline") return { type, data };
    if (type !== "external") return { type };
    const digest = toByteString(data) as ObjectId;
    return { type, digest, size: this.#records[at + RECORD.size]! };
  }

  /**
   * The regular file at a path of a tar-diff.
   *
   * @throws {FormatError} `Source file not found: PATH`, with the reason as its cause
   */
  file(path: ByteString): Extract<SourceEntry, { type: "inline" | "external" }> {
    const clean = sourcePath(path);
    const entry = this.find(clean);
    if (entry?.type === "inline" || entry?.type === "external") return entry;
    throw sourceNotFound(path, this.#reason(clean, entry));
  }

  #reason(path: ByteString, entry: SourceEntry | undefined): string {
    const named = (part: ByteString) => `Directory entry "${displayByteString(part)}"`;
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (entry !== undefined) {
      return `${named(name)} is ${
        entry.type === "directory" ? "a directory" : "not a regular file"
      }`;
    }
    for (let end = path.indexOf("/"); end >= 0; end = path.indexOf("/", end + 1)) {
      const parent = path.slice(0, end);
      const found = this.find(parent);
      if (found === undefined) return `${named(parent)} does not exist`;
      if (found.type !== "directory") {
        return `${named(parent.slice(parent.lastIndexOf("/") + 1))} is not a subdirectory`;
      }
    }
    return `${named(name)} does not exist`;
  }
}

/** Takes small files from a table, and the others from whoever has the objects. */
export class TableSource implements DeltaSource {
  readonly #table: SourceTable;
  readonly #openObject: (id: ObjectId, size: number) => SourceFile;

  /** `openObject` opens the object that a file's content is. */
  constructor(table: SourceTable, openObject: (id: ObjectId, size: number) => SourceFile) {
    this.#table = table;
    this.#openObject = openObject;
  }

  open(path: ByteString): SourceFile {
    const entry = this.#table.file(path);
    if (entry.type === "external") return this.#openObject(entry.digest, entry.size);
    return memoryFile(entry.data);
  }
}

/** A file whose content is in memory. */
export function memoryFile(data: Uint8Array): SourceFile {
  return {
    size: data.length,
    read(buffer, position) {
      const part = data.subarray(position, position + buffer.length);
      buffer.set(part);
      return part.length;
    },
  };
}
