/** Importing a batch of file objects from a local repository; runs on any thread. */
import { NotFoundError, withContext } from "../base/mod.ts";
import type { Checksum } from "./checksum.ts";
import { ChecksumQueue, type ChecksumQueueMemory } from "./checksum_queue.ts";
import { ContentImporter } from "./content_import.ts";
import { closeFile, type LocalFile, type ObjectsPlace, openFileObject } from "./local_objects.ts";
import type { ImportedFile, ImportedObject, ImportTarget } from "./source.ts";

/** File objects to import, as sent to a worker. */
export interface ImportTask {
  /** Checksums, one after the other. */
  readonly checksums: readonly Checksum[];
  /** Repositories to look in, in this order. */
  readonly places: readonly ObjectsPlace[];
  /** Where they go. */
  readonly target: ImportTarget;
}

/** Files that a thread takes at a time: few, since sizes are not known and the last is waited for. */
export const BATCH = 16;

/** Imported files, packed for the way between threads. */
export interface ImportBatch {
  /** Data of all files one after the other. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Bytes of each. */
  readonly lengths: readonly number[];
  /** Object of each. */
  readonly objects: readonly (ImportedObject | undefined)[];
}

/** A queue to import from, as sent to a worker. */
export interface QueueTask extends Omit<ImportTask, "checksums"> {
  /** Where it takes checksums from. */
  readonly queue: ChecksumQueueMemory;
}

/** What came of checksums of a queue. */
export interface QueuedBatch {
  /** Position of the first one. */
  readonly first: number;
  /** Their files. */
  readonly batch: ImportBatch;
}

let cached: { key: string; importer: ContentImporter } | undefined;

/** One importer a thread, kept as long as the target stays the same. */
export function importerFor(target: ImportTarget): ContentImporter {
  const { objects } = target;
  const { dir, algorithm, secure, thorough, suspects } = objects;
  const key = `${dir} ${algorithm.id} ${secure} ${thorough} ${suspects}`;
  if (cached?.key !== key) {
    cached?.importer[Symbol.dispose]();
    cached = { key, importer: new ContentImporter(target) };
  }
  return cached.importer;
}

/** Forgets the importer of this thread. */
export function dropImporter(): void {
  cached?.importer[Symbol.dispose]();
  cached = undefined;
}

/** Imports a batch. */
export function importBatch(task: ImportTask): ImportBatch {
  const importer = importerFor(task.target);
  return packBatch(
    task.checksums.map((checksum) => importFile(importer, checksum, task.places)),
  );
}

/**
 * Imports what a queue has until nothing more will come.
 *
 * @param emit takes each batch
 */
export function importQueue(task: QueueTask, emit: (batch: QueuedBatch) => void): void {
  const queue = new ChecksumQueue(task.queue);
  for (;;) {
    const taken = queue.waitAndTake(BATCH);
    if (taken === undefined) return;
    emit({ first: taken.first, batch: importBatch({ ...task, checksums: taken.checksums }) });
  }
}

/** Packs imported files. */
export function packBatch(files: readonly ImportedFile[]): ImportBatch {
  const data = new Uint8Array(files.reduce((sum, file) => sum + file.data.length, 0));
  let at = 0;
  for (const file of files) {
    data.set(file.data, at);
    at += file.data.length;
  }
  return {
    data,
    lengths: files.map((file) => file.data.length),
    objects: files.map((file) => file.object),
  };
}

/** The files of a batch; their data are views of it. */
export function* unpackBatch(
  checksums: readonly Checksum[],
  batch: ImportBatch,
): Generator<ImportedFile, void, undefined> {
  let at = 0;
  for (let i = 0; i < checksums.length; i++) {
    const end = at + batch.lengths[i]!;
    yield {
      checksum: checksums[i]!,
      data: batch.data.subarray(at, end),
      object: batch.objects[i],
    };
    at = end;
  }
}

function importFile(
  importer: ContentImporter,
  checksum: Checksum,
  places: readonly ObjectsPlace[],
): ImportedFile {
  for (const place of places) {
    const file = openFileObject(place, checksum);
    if (file === undefined) continue;
    try {
      return importOpen(importer, checksum, file);
    } catch (cause) {
      throw withContext(`Importing file object ${checksum}`, cause);
    } finally {
      closeFile(file);
    }
  }
  throw new NotFoundError("file object", checksum);
}

function importOpen(importer: ContentImporter, checksum: Checksum, file: LocalFile): ImportedFile {
  switch (file.form) {
    case "archive":
      return importer.archiveFile(checksum, file.fd, file.size);
    case "plain":
      return importer.plainFile(checksum, file.header, file.fd);
    case "symlink":
      return importer.bytes(checksum, file.header, new Uint8Array(0));
  }
}
