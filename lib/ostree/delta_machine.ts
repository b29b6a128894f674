/** Runs the operations of one part of a static delta (spec: ostree 7.3). */
import { FormatError, NotFoundError, toByteString } from "../base/mod.ts";
import { type Checksum, CHECKSUM_SIZE, checksumFromBytes, checksumOf } from "./checksum.ts";
import type { DeltaPart } from "./delta_part.ts";
import type { DeltaSource, Patcher } from "./delta_patch.ts";
import type { DeltaBase, DeltaCounts, DeltaFileSink, DeltaSink } from "./delta_sink.ts";
import { type DeltaPartEntry, OBJECT_ENTRY_SIZE, objectKind } from "./delta_superblock.ts";
import { S_IFLNK, S_IFMT } from "./dirmeta.ts";
import { checkFileHeader, type FileHeader, MAX_TARGET } from "./file_header.ts";
import { corruptedObject, MAX_METADATA_SIZE, type ObjectKind } from "./object_kind.ts";
import { piecesOf } from "./part_bytes.ts";

const FORMAT = "ostree delta";
const PIECE = 256 * 1024;
/** Files of at most this many bytes are handed on in one piece. */
const WHOLE = 1024 * 1024;

/** The operations of parts by their byte. */
export const DELTA_OP = {
  spliceClose: 0x53,
  open: 0x6f,
  write: 0x77,
  setSource: 0x72,
  unsetSource: 0x52,
  patch: 0x42,
  close: 0x63,
} as const;

const MAX_VARINT = 10;

/** What running a part needs. */
export interface RunPartOptions {
  /** What it builds upon. */
  readonly base: DeltaBase;
  /** Where objects go. */
  readonly sink: DeltaSink;
  /** Shared by all parts of a delta. */
  readonly patcher: Patcher;
}

interface OpenFile {
  readonly sink: DeltaFileSink;
  readonly size: number;
  written: number;
}

/**
 * Runs a part: every object of its list goes to the sink, in order.
 *
 * @throws {FormatError} when an operation makes no sense, or makes more than was announced
 * @throws {DigestMismatchError} when an object is not the one that was announced
 * @throws {NotFoundError} when the base lacks a file object
 */
export function runDeltaPart(
  entry: DeltaPartEntry,
  part: DeltaPart,
  options: RunPartOptions,
): DeltaCounts {
  using machine = new Machine(entry, part, options);
  return machine.run();
}

class Machine implements Disposable {
  readonly #part: DeltaPart;
  readonly #entry: DeltaPartEntry;
  readonly #options: RunPartOptions;
  readonly #objects: number;
  #next = 0;
  #at = 0;
  #file: OpenFile | undefined;
  #source: DeltaSource | undefined;
  /** The source opened last: parts often go back and forth between it and the payload. */
  #kept: { checksum: Checksum; source: DeltaSource } | undefined;
  #buffer: Uint8Array | undefined;
  #made = 0;
  #patched = 0;
  #opened = 0;
  #counts = { metadata: 0, files: 0 };

  constructor(entry: DeltaPartEntry, part: DeltaPart, options: RunPartOptions) {
    this.#entry = entry;
    this.#part = part;
    this.#options = options;
    this.#objects = entry.objects.length / OBJECT_ENTRY_SIZE;
  }

  run(): DeltaCounts {
    const { operations } = this.#part;
    while (this.#at < operations.length) this.#step(operations[this.#at++]!);
    if (this.#file !== undefined) throw fault("part ends inside an object");
    if (this.#next < this.#objects) {
      throw fault(`part ends before object ${this.#next} of ${this.#objects}`);
    }
    return this.#counts;
  }

  #step(op: number): void {
    switch (op) {
      case DELTA_OP.spliceClose:
        return this.#spliceClose();
      case DELTA_OP.open:
        return this.#open();
      case DELTA_OP.write:
        return this.#write();
      case DELTA_OP.setSource:
        return this.#setSource(this.#varint());
      case DELTA_OP.unsetSource:
        this.#source = undefined;
        return;
      case DELTA_OP.patch:
        return this.#patch();
      case DELTA_OP.close:
        return this.#close();
      default:
        throw fault(`unknown delta opcode 0x${op.toString(16)}`);
    }
  }

  /** The object whose turn it is. */
  #object(): { kind: ObjectKind; checksum: Checksum } {
    if (this.#file !== undefined) throw fault("object opened inside another");
    if (this.#next >= this.#objects) throw fault(`object index ${this.#next} out of range`);
    const at = this.#next++ * OBJECT_ENTRY_SIZE;
    const { objects } = this.#entry;
    const checksum = checksumFromBytes(objects.subarray(at + 1, at + OBJECT_ENTRY_SIZE));
    return { kind: objectKind(objects[at]!), checksum };
  }

  #spliceClose(): void {
    const { kind, checksum } = this.#object();
    if (kind !== "file") {
      const size = this.#varint();
      const offset = this.#varint();
      if (size > MAX_METADATA_SIZE) throw fault(`${kind} object of ${size} bytes is too large`);
      const bytes = this.#part.slice(offset, size);
      this.#make(size);
      const actual = checksumOf(bytes);
      if (actual !== checksum) throw corruptedObject(kind, checksum, actual);
      this.#options.sink.metadata(kind, checksum, bytes);
      this.#counts.metadata++;
      return;
    }
    const mode = this.#part.mode(this.#varint());
    const xattrs = this.#part.xattrs(this.#varint());
    const size = this.#varint();
    const content = this.#part.section(this.#varint(), size);
    const link = (mode.mode & S_IFMT) === S_IFLNK;
    if (link && size > MAX_TARGET) throw fault(`symbolic link of ${size} bytes`);
    const target = link ? toByteString(content.get(0, size)) : "";
    const header: FileHeader = { ...mode, xattrs, size: link ? 0 : size, target };
    checkFileHeader(header);
    if (!link) this.#make(size);
    if (link || size <= WHOLE) {
      this.#options.sink.file(checksum, header, content.get(0, header.size));
    } else {
      using sink = this.#options.sink.open(checksum, header);
      for (const piece of piecesOf(content)) sink.write(piece);
      sink.finish();
    }
    this.#counts.files++;
  }

  #open(): void {
    const { kind, checksum } = this.#object();
    if (kind !== "file") throw fault(`${kind} object opened as a file`);
    const mode = this.#part.mode(this.#varint());
    const xattrs = this.#part.xattrs(this.#varint());
    const size = this.#varint();
    const header: FileHeader = { ...mode, xattrs, size, target: "" };
    checkFileHeader(header);
    this.#make(size);
    this.#file = { sink: this.#options.sink.open(checksum, header), size, written: 0 };
  }

  #write(): void {
    const size = this.#varint();
    const offset = this.#varint();
    const file = this.#grow(size);
    const source = this.#source;
    if (source === undefined) {
      for (const piece of piecesOf(this.#part.section(offset, size))) file.sink.write(piece);
      return;
    }
    if (offset > source.size || size > source.size - offset) {
      throw fault(`source slice ${offset}..${offset + size} out of range (len=${source.size})`);
    }
    const buffer = this.#buffer ??= new Uint8Array(PIECE);
    for (let done = 0; done < size; done += PIECE) {
      const piece = buffer.subarray(0, Math.min(PIECE, size - done));
      source.read(piece, offset + done);
      file.sink.write(piece);
    }
  }

  #patch(): void {
    const offset = this.#varint();
    const patch = this.#part.section(offset, this.#varint());
    if (this.#source === undefined) throw fault("BSPATCH without read source");
    const file = this.#grow(0);
    const size = file.size - file.written;
    this.#grow(size);
    this.#patched += this.#options.patcher.apply(patch, this.#source, {
      size,
      write: (bytes) => file.sink.write(bytes),
    });
    // Patches that are used again and again would take time without limit.
    if (this.#patched > 2 * this.#part.payloadSize) throw fault("patches larger than payload");
  }

  /** Counts bytes that are about to be added to the open file. */
  #grow(size: number): OpenFile {
    const file = this.#file;
    if (file === undefined) throw fault("content without an open object");
    if (size > file.size - file.written) {
      throw fault(`content of ${file.written + size} bytes where ${file.size} were declared`);
    }
    file.written += size;
    return file;
  }

  #close(): void {
    const file = this.#file;
    if (file === undefined) throw fault("close without an open object");
    if (file.written !== file.size) {
      throw fault(`content of ${file.written} bytes where ${file.size} were declared`);
    }
    using sink = file.sink;
    this.#file = undefined;
    this.#source = undefined;
    sink.finish();
    this.#counts.files++;
  }

  #setSource(offset: number): void {
    const checksum = checksumFromBytes(this.#part.slice(offset, CHECKSUM_SIZE));
    if (this.#kept?.checksum !== checksum) {
      // An object has one source; more opened files than that are no honest delta's.
      if (++this.#opened > 2 * this.#objects + 2) throw fault("too many read sources");
      this.#kept?.source[Symbol.dispose]();
      this.#kept = undefined;
      const source = this.#options.base.open(checksum);
      if (source === undefined) {
        throw new NotFoundError("object", checksum, {
          message: `SET_READ_SOURCE object ${checksum} not found in base commit`,
        });
      }
      this.#kept = { checksum, source };
    }
    this.#source = this.#kept.source;
  }

  /** Counts bytes of objects against what the superblock announced. */
  #make(size: number): void {
    this.#made += size;
    if (this.#made > this.#entry.uncompressedSize) {
      const { index, uncompressedSize } = this.#entry;
      throw fault(`delta part ${index} makes more than the announced ${uncompressedSize} bytes`);
    }
  }

  #varint(): number {
    const { operations } = this.#part;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT; i++) {
      if (this.#at >= operations.length) throw fault("varint extends past end of data");
      const byte = operations[this.#at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw fault("payload offset overflow");
        return value;
      }
      scale *= 0x80;
    }
    throw fault("varint too long");
  }

  [Symbol.dispose](): void {
    this.#file?.sink[Symbol.dispose]();
    this.#kept?.source[Symbol.dispose]();
  }
}

function fault(message: string): FormatError {
  return new FormatError(FORMAT, message);
}
