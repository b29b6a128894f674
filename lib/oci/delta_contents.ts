/** The old image's contents as threads share them while a delta is made. */
import { type ByteString, FormatError, toByteString, writeByteString } from "../base/mod.ts";
import type { OldContent, OldContents } from "../delta/mod.ts";
import { preadFull } from "../../ffi/mod.ts";
import type { Stretch } from "./delta_scan.ts";

/** Memory of {@linkcode SharedContents}; can be posted to workers. */
export interface SharedContentsMemory {
  /** One record a content; see `RECORD`. */
  readonly records: SharedArrayBuffer;
  /** The names. */
  readonly names: SharedArrayBuffer;
}

/** Fields of a record, in 64-bit floats. */
const RECORD = { fd: 0, offset: 1, size: 2, name: 3, nameLength: 4 } as const;
const FIELDS = 5;

/** Lays the contents out in shared memory; `where` tells the file that holds each of them. */
export function shareContents(
  contents: readonly OldContent[],
  where: (content: OldContent) => Stretch,
): SharedContentsMemory {
  const length = contents.reduce((sum, { paths }) => sum + paths[0]!.length, 0);
  const memory = {
    records: new SharedArrayBuffer(contents.length * FIELDS * Float64Array.BYTES_PER_ELEMENT),
    names: new SharedArrayBuffer(length),
  };
  const records = new Float64Array(memory.records);
  const names = new Uint8Array(memory.names);
  let used = 0;
  for (const [i, content] of contents.entries()) {
    const { fd, offset, size } = where(content);
    const name = content.paths[0]!;
    records.set([fd, offset, size, used, name.length], i * FIELDS);
    used = writeByteString(name, names, used);
  }
  return memory;
}

/** The contents as any thread sees them. */
export class SharedContents implements OldContents {
  readonly #records: Float64Array;
  readonly #names: Uint8Array;

  /** Reads memory of {@linkcode shareContents}; its descriptors must stay open. */
  constructor(memory: SharedContentsMemory) {
    this.#records = new Float64Array(memory.records);
    this.#names = new Uint8Array(memory.names);
  }

  /** Number of contents. */
  get count(): number {
    return this.#records.length / FIELDS;
  }

  size(content: number): number {
    return this.#records[content * FIELDS + RECORD.size]!;
  }

  path(content: number): ByteString {
    const start = this.#records[content * FIELDS + RECORD.name]!;
    const length = this.#records[content * FIELDS + RECORD.nameLength]!;
    return toByteString(this.#names.slice(start, start + length));
  }

  read(content: number, buffer: Uint8Array, position: number): number {
    const at = content * FIELDS;
    const wanted = Math.min(buffer.length, this.#records[at + RECORD.size]! - position);
    if (wanted <= 0) return 0;
    const target = wanted === buffer.length ? buffer : buffer.subarray(0, wanted);
    const got = preadFull(
      this.#records[at + RECORD.fd]!,
      target,
      this.#records[at + RECORD.offset]! + position,
    );
    if (got !== wanted) throw new FormatError("layer", "The old image changed while it was read");
    return got;
  }
}
