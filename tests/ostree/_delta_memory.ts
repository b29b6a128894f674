/**
 * A static delta's surroundings in memory: what it makes, and small deltas made by hand.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  type Checksum,
  checksumBytes,
  checksumOf,
  encodeStreamHeader,
  encodeVariant,
  type FileHeader,
  Variant,
} from "../../lib/ostree/mod.ts";
import { memfd, writeAll } from "../../ffi/mod.ts";
import { BytesInFile } from "../../lib/ostree/part_bytes.ts";
import type { DeltaFileSink, DeltaSink } from "../../lib/ostree/delta_sink.ts";
import type { DeltaSource } from "../../lib/ostree/delta_patch.ts";
import { corruptedObject } from "../../lib/ostree/mod.ts";

/** The checksum of a file object. */
export function fileChecksum(header: FileHeader, content: Uint8Array): Checksum {
  return checksumOf(encodeStreamHeader(header), content);
}

/** Keeps every object of a delta. */
export class MemorySink implements DeltaSink {
  /** Metadata objects. */
  readonly meta = new Map<Checksum, Uint8Array>();
  /** Content of file objects. */
  readonly files = new Map<Checksum, Uint8Array>();
  /** Files that were started and neither ended nor dropped. */
  pending = 0;

  metadata(_kind: string, checksum: Checksum, bytes: Uint8Array): void {
    this.meta.set(checksum, bytes.slice());
  }

  file(checksum: Checksum, header: FileHeader, content: Uint8Array): void {
    const actual = fileChecksum(header, content);
    if (actual !== checksum) throw corruptedObject("file", checksum, actual);
    this.files.set(checksum, content.slice());
  }

  open(checksum: Checksum, header: FileHeader): DeltaFileSink {
    const hash = createHash("sha256").update(encodeStreamHeader(header));
    const pieces: Uint8Array[] = [];
    this.pending++;
    let ended = false;
    return {
      write(bytes) {
        hash.update(bytes);
        pieces.push(bytes.slice());
      },
      finish: () => {
        const actual = hash.digest("hex") as Checksum;
        if (actual !== checksum) throw corruptedObject("file", checksum, actual);
        this.files.set(checksum, concat(...pieces));
      },
      [Symbol.dispose]: () => {
        if (!ended) this.pending--;
        ended = true;
      },
    };
  }
}

/** Content in memory as what a delta builds upon. */
export class MemorySource implements DeltaSource {
  /** Its size in bytes. */
  readonly size: number;
  readonly #bytes: Uint8Array;

  /** Reads from `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  read(into: Uint8Array, position: number): void {
    into.set(this.#bytes.subarray(position, position + into.length));
  }

  [Symbol.dispose](): void {}
}

/** Bytes in a file, as those of large parts are. */
export function inFile(bytes: Uint8Array): BytesInFile {
  const fd = memfd("part");
  const copy = new Uint8Array(4096 + bytes.length).subarray(0, bytes.length);
  copy.set(bytes);
  writeAll(fd, copy);
  return new BytesInFile(fd, { start: 0, size: bytes.length });
}

/** For what must not need a file. */
export function noScratch(): never {
  throw new Error("No file is needed");
}

/** Byte arrays one after the other. */
export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A part without its compression byte. */
export function encodePart(part: {
  modes?: number[][];
  xattrs?: [Uint8Array, Uint8Array][][];
  payload?: Uint8Array;
  operations: number[];
}): Uint8Array<ArrayBuffer> {
  const bytes = encodeVariant("(a(uuu)aa(ayay)ayay)", [
    (part.modes ?? []).map((mode) => mode.map(bigEndian)),
    part.xattrs ?? [[]],
    part.payload ?? new Uint8Array(0),
    Uint8Array.from(part.operations),
  ]);
  return bytes;
}

function bigEndian(value: number): number {
  return new DataView(Uint32Array.of(value).buffer).getUint32(0, false);
}

/** A list of objects. */
export function objectList(...objects: [number, Checksum][]): Uint8Array<ArrayBuffer> {
  return concat(
    ...objects.map(([kind, checksum]) => concat(Uint8Array.of(kind), checksumBytes(checksum))),
  );
}

/** A superblock around a commit's members. */
export function encodeSuperblock(members: {
  metadata?: [string, Variant][];
  from?: Uint8Array;
  to: Uint8Array;
  commit: unknown;
  needed?: Uint8Array;
  parts?: unknown[];
  fallbacks?: unknown[];
}): Uint8Array<ArrayBuffer> {
  return encodeVariant("(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))", [
    members.metadata ?? [["ostree.endianness", new Variant("y", 0x6c)]],
    0n,
    members.from ?? new Uint8Array(0),
    members.to,
    members.commit,
    members.needed ?? new Uint8Array(0),
    members.parts ?? [],
    members.fallbacks ?? [],
  ] as never);
}
