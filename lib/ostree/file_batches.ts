/** Work on the file objects of a commit in batches, on this thread or on workers. */
import { type ByteString, type ObjectId, Pool } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import { type ObjectPlace, objectPlace } from "./object_place.ts";
import type { ReachableObject } from "./reachable.ts";

/** A file object of a stored commit. */
export interface FileObject {
  /** Its checksum. */
  readonly checksum: Checksum;
  /** A path that leads to it. */
  readonly path: ByteString;
  /** Its framed archive header, and inline content after it. */
  readonly data: Uint8Array;
  /** The object with its content, when that is not inline. */
  readonly external: ObjectId | undefined;
}

/** Some of a commit's files; plain data, so that it can be sent to a worker. */
export interface FileBatch {
  /** Where contents are. */
  readonly place: ObjectPlace;
  /** The files. */
  readonly files: readonly FileObject[];
}

/** Files in a batch, and bytes of their contents after which it ends. */
const BATCH = { files: 256, bytes: 16 * 1024 * 1024 } as const;
/** Threads: each takes memory, and more than these have to wait for files all the same. */
const MOST_THREADS = 4;
/** Less than this is done before workers have started: what a file costs, and all files. */
const WORTH_WORKERS = { file: 16 * 1024, all: 96 * 1024 * 1024 } as const;

/** A commit's files in batches. */
export interface FileBatches {
  /** The batches, in the order of the files. */
  readonly batches: readonly FileBatch[];
  /** Whether there is enough to do for more than one thread. */
  readonly large: boolean;
}

/** Divides files that are there into batches. */
export function fileBatches(
  repository: Repository,
  objects: Iterable<ReachableObject>,
): FileBatches {
  const place = objectPlace(repository);
  const batches: FileBatch[] = [];
  let files: FileObject[] = [];
  let bytes = 0;
  let work = 0;
  const end = (): void => {
    if (files.length > 0) batches.push({ place, files });
    files = [];
    bytes = 0;
  };
  for (const { kind, checksum, path, entry } of objects) {
    if (kind !== "file" || entry === undefined) continue;
    const { data, external } = entry;
    const size = external === undefined ? 0 : repository.objects.size(external) ?? 0;
    if (bytes + size > BATCH.bytes || files.length >= BATCH.files) end();
    // A view would take the whole commit along to a worker.
    files.push({ checksum, path, data: data.slice(), external });
    bytes += size;
    work += size + WORTH_WORKERS.file;
  }
  end();
  return { batches, large: work >= WORTH_WORKERS.all };
}

/**
 * Works on batches: on workers when there is enough to do, else on this thread.
 *
 * @param handler name of the work in the worker module
 * @param options.work the same work for this thread
 * @param options.jobs threads; left to what there is to do when undefined
 * @yields results in the order of the batches
 * @throws what the work throws
 */
export async function* workOnBatches<T extends FileBatch, R>(
  handler: string,
  { batches, large }: { readonly batches: readonly T[]; readonly large: boolean },
  options: { work: (batch: T) => R; jobs: number | undefined },
): AsyncGenerator<R, void, undefined> {
  const { work, jobs = large ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1 } =
    options;
  if (jobs <= 1) {
    for (const batch of batches) yield work(batch);
    return;
  }
  const module = new URL("./object_worker.ts", import.meta.url);
  await using pool = new Pool(module, { size: jobs, depth: 2 });
  yield* pool.map<T, R>(handler, batches);
}
