/**
 * What an unfinished pull has brought so far, so that the next one need not fetch it again (spec:
 * ostree 6.2). Nothing in it is trusted: objects are checked against their checksums once more.
 */
import { basename, dirname } from "node:path/posix";
import { type ObjectId, parseObjectId, toHex, writeHex } from "../base/mod.ts";
import { type Checksum, CHECKSUM_SIZE, checksumFromBytes, isChecksum } from "./checksum.ts";
import { PartFile, removeFile } from "./part_file.ts";

const MAGIC = new TextEncoder().encode("cfsjrnl1");
const RECORD = { dataSize: [0, "u32"], idSize: [4, "u32"] } as const;
const RECORD_SIZE = 8;
const MAX_ID = 64;
/** Ends the names of files with large objects. */
const PART = ".part";
const PIECE = 1024 * 1024;

/** An object in a journal. */
export interface JournalEntry {
  /** Metadata as it is; of a file the framed header, and the content when that is inline. */
  readonly data: Uint8Array;
  /** The object with the file's content. */
  readonly object: ObjectId | undefined;
}

/** Where an entry is in the file. */
interface Place {
  readonly offset: number;
  readonly idSize: number;
  readonly dataSize: number;
}

/** Objects of one commit in a file that only grows. */
export class PullJournal implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #places = new Map<Checksum, Place>();
  readonly #parts = new Set<Checksum>();

  private constructor(path: string, file: Deno.FsFile) {
    this.#path = path;
    this.#file = file;
  }

  /** Opens the journal at a path, or begins it there. */
  static open(path: string): PullJournal {
    Deno.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const options = { read: true, append: true, create: true, mode: 0o600 };
    const journal = new PullJournal(path, Deno.openSync(path, options));
    try {
      journal.#scan();
      journal.#findParts();
    } catch (error) {
      journal[Symbol.dispose]();
      throw error;
    }
    return journal;
  }

  /** Number of objects in it. */
  get size(): number {
    return this.#places.size;
  }

  /** An object; `undefined` when it is not in the journal. */
  get(checksum: Checksum): JournalEntry | undefined {
    const place = this.#places.get(checksum);
    if (place === undefined) return undefined;
    const { offset, idSize, dataSize } = place;
    const bytes = this.#read(offset, idSize + dataSize);
    if (bytes === undefined) return undefined;
    const object = idSize === 0 ? undefined : parseObjectId(toHex(bytes, 0, idSize));
    return { data: bytes.subarray(idSize), object };
  }

  /** Adds an object. */
  add(checksum: Checksum, entry: JournalEntry): void {
    this.addAll([[checksum, entry]]);
  }

  /** Adds objects, in one write, so that several pulls may share a journal. */
  addAll(entries: readonly (readonly [Checksum, JournalEntry])[]): void {
    const head = RECORD_SIZE + CHECKSUM_SIZE;
    let size = 0;
    for (const [, { data, object }] of entries) {
      size += head + (object?.length ?? 0) / 2 + data.length;
    }
    const records = new Uint8Array(size);
    const view = new DataView(records.buffer);
    let at = 0;
    for (const [checksum, { data, object }] of entries) {
      const idSize = (object?.length ?? 0) / 2;
      view.setUint32(at + RECORD.dataSize[0], data.length, true);
      view.setUint32(at + RECORD.idSize[0], idSize, true);
      writeHex(checksum, records, at + RECORD_SIZE);
      if (object !== undefined) writeHex(object, records, at + head);
      records.set(data, at + head + idSize);
      at += head + idSize + data.length;
    }
    for (let done = 0; done < size;) done += this.#file.writeSync(records.subarray(done));
  }

  /** Whether some of a large object was kept. */
  hasPart(checksum: Checksum): boolean {
    return this.#parts.has(checksum);
  }

  /** The file for a large object; undefined when another pull is writing it. */
  openPart(checksum: Checksum): PartFile | undefined {
    const part = PartFile.open(this.#partPath(checksum));
    if (part !== undefined) this.#parts.add(checksum);
    return part;
  }

  #partPath(checksum: Checksum): string {
    return `${this.#path}.${checksum}${PART}`;
  }

  /** Removes the files: what was pulled has its names now. */
  remove(): void {
    for (const checksum of this.#parts) removeFile(this.#partPath(checksum));
    removeFile(this.#path);
  }

  #findParts(): void {
    const prefix = `${basename(this.#path)}.`;
    for (const { name } of Deno.readDirSync(dirname(this.#path))) {
      if (!name.startsWith(prefix) || !name.endsWith(PART)) continue;
      const checksum = name.slice(prefix.length, -PART.length);
      if (isChecksum(checksum)) this.#parts.add(checksum);
    }
  }

  /** Finds all records; drops an end that was not written as a whole. */
  #scan(): void {
    const size = this.#file.statSync().size;
    const magic = this.#read(0, MAGIC.length);
    let end = 0;
    if (magic !== undefined && magic.every((byte, index) => byte === MAGIC[index])) {
      end = MAGIC.length;
      for (;;) {
        const next = this.#record(end, size);
        if (next === undefined) break;
        end = next;
      }
    }
    if (end < size) this.#file.truncateSync(end);
    if (end === 0) this.#file.writeSync(MAGIC);
  }

  /** Takes up the record at `offset`; returns where it ends, `undefined` when it is not whole. */
  #record(offset: number, size: number): number | undefined {
    const start = offset + RECORD_SIZE + CHECKSUM_SIZE;
    if (start > size) return undefined;
    const head = this.#read(offset, RECORD_SIZE + CHECKSUM_SIZE);
    if (head === undefined) return undefined;
    const view = new DataView(head.buffer, head.byteOffset);
    const dataSize = view.getUint32(RECORD.dataSize[0], true);
    const idSize = view.getUint32(RECORD.idSize[0], true);
    const end = start + idSize + dataSize;
    if (![0, MAX_ID / 2, MAX_ID].includes(idSize) || end > size) return undefined;
    const checksum = checksumFromBytes(head.subarray(RECORD_SIZE));
    this.#places.set(checksum, { offset: start, idSize, dataSize });
    return end;
  }

  #window = new Uint8Array(0);
  #windowAt = 0;

  /** Bytes of the file; `undefined` behind its end. Buffers are not used again. */
  #read(offset: number, length: number): Uint8Array | undefined {
    const within = offset - this.#windowAt;
    if (within >= 0 && within + length <= this.#window.length) {
      return this.#window.subarray(within, within + length);
    }
    const buffer = new Uint8Array(Math.max(length, PIECE));
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    let got = 0;
    while (got < buffer.length) {
      const read = this.#file.readSync(buffer.subarray(got));
      if (read === null) break;
      got += read;
    }
    this.#window = buffer.subarray(0, got);
    this.#windowAt = offset;
    return got < length ? undefined : this.#window.subarray(0, length);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Journals that nobody has touched for so long are of pulls that nobody takes up. */
const ABANDONED = 30 * 24 * 3600 * 1000;

/**
 * Removes the journals of pulls that were given up long ago, with the large objects they kept; the
 * directory, too, when nothing else is in it.
 *
 * @param directory where journals are; need not be there
 * @param options.now milliseconds since 1970
 * @returns number of files that were removed
 */
export function pruneJournals(directory: string, options: { now?: number } = {}): number {
  const before = (options.now ?? Date.now()) - ABANDONED;
  let removed = 0;
  try {
    const found = [...Deno.readDirSync(directory)];
    for (const { name, isFile } of found) {
      if (!isFile || !/^[0-9a-f]{64}\.journal(?:\.[0-9a-f]{64}\.part)?$/.test(name)) continue;
      const path = `${directory}/${name}`;
      const { mtime } = Deno.lstatSync(path);
      if (mtime === null || mtime.getTime() >= before) continue;
      removeFile(path);
      removed++;
    }
    if (found.length === removed) removeEmptyDirectory(directory);
  } catch (error) {
    // Nothing was kept, or another program was faster.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return removed;
}

function removeEmptyDirectory(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    // Another pull has begun a journal there.
    if (!(error instanceof Error && "code" in error && error.code === "ENOTEMPTY")) throw error;
  }
}
