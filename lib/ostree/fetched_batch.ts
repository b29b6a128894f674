/**
 * File objects that came from a server, handed from the thread that fetches to those that unpack,
 * check and store: many at a time, in one buffer that moves there and back.
 */
import { withContext } from "../base/mod.ts";
import type { Checksum } from "./checksum.ts";
import { type ImportBatch, importerFor, packBatch } from "./import_batch.ts";
import type { ImportedFile, ImportTarget } from "./source.ts";

/** Most bytes of objects in a batch: what a killed pull may lose of what arrived. */
const FULL = Math.min(256 * 1024, Math.floor(768 * 1024 / (2 * navigator.hardwareConcurrency - 1)));
/** Objects after which it is full. */
const FULL_COUNT = 64;

/** Archive forms of file objects, as sent to a worker. */
export interface FetchedTask {
  /** The objects, one after the other. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Where each one ends. */
  readonly ends: readonly number[];
  /** Their checksums. */
  readonly checksums: readonly Checksum[];
  /** Where they go. */
  readonly target: ImportTarget;
}

/** What came of them; the buffer comes back to be used again. */
export interface FetchedResult extends ImportBatch {
  /** The buffer of the task. */
  readonly buffer: ArrayBuffer;
}

/** A batch that is being filled. */
export class FetchedBatch {
  readonly #data: Uint8Array<ArrayBuffer>;
  readonly #ends: number[] = [];
  readonly #checksums: Checksum[] = [];
  #used = 0;

  /**
   * Starts an empty one.
   *
   * @param buffer of a batch before
   * @param least bytes it must hold
   */
  constructor(buffer: ArrayBuffer | undefined, least: number) {
    const large = buffer !== undefined && buffer.byteLength >= least;
    this.#data = new Uint8Array(large ? buffer : new ArrayBuffer(Math.max(2 * FULL, least)));
  }

  /** Number of objects. */
  get count(): number {
    return this.#checksums.length;
  }

  /** Whether it is to be sent. */
  get full(): boolean {
    return this.#used >= FULL || this.count >= FULL_COUNT;
  }

  /** Adds an object; false when it does not fit. */
  add(checksum: Checksum, bytes: Uint8Array): boolean {
    if (bytes.length > this.#data.length - this.#used) return false;
    this.#data.set(bytes, this.#used);
    this.#used += bytes.length;
    this.#ends.push(this.#used);
    this.#checksums.push(checksum);
    return true;
  }

  /** What to send. */
  task(target: ImportTarget): FetchedTask {
    return { data: this.#data, ends: this.#ends, checksums: this.#checksums, target };
  }
}

/**
 * Imports a batch.
 *
 * @throws {DigestMismatchError} when an object is not what its checksum says
 * @throws {FormatError} when one is malformed
 */
export function importFetched(task: FetchedTask): FetchedResult {
  const importer = importerFor(task.target);
  let start = 0;
  const files = task.checksums.map((checksum, index) => {
    const bytes = task.data.subarray(start, start = task.ends[index]!);
    try {
      return importer.archive(checksum, bytes);
    } catch (cause) {
      throw named(checksum, cause);
    }
  });
  return { ...packBatch(files), buffer: task.data.buffer };
}

/** A large object in a file, as sent to a worker. */
export interface PartTask {
  /** Its checksum. */
  readonly checksum: Checksum;
  /** Descriptor number of the file. */
  readonly fd: number;
  /** Bytes in it. */
  readonly size: number;
  /** Where it goes. */
  readonly target: ImportTarget;
}

/**
 * Imports an object from a file.
 *
 * @throws {DigestMismatchError} when it is not what its checksum says
 * @throws {FormatError} when it is malformed
 */
export function importPart({ checksum, fd, size, target }: PartTask): ImportedFile {
  try {
    return importerFor(target).archiveFile(checksum, fd, size);
  } catch (cause) {
    throw named(checksum, cause);
  }
}

/** The failure with the name of the object, which most say themselves. */
function named(checksum: Checksum, cause: unknown): unknown {
  if (cause instanceof Error && cause.message.includes(checksum)) return cause;
  return withContext(`Importing file object ${checksum}`, cause);
}
