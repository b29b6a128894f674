/** Importing one layer into a repository; runs in a worker (spec: oci 2). */
import {
  Digest,
  DigestMismatchError,
  FormatError,
  letMessagesIn,
  nodeHash,
  nodeZstd,
  type ObjectId,
  type StreamHash,
  type TaskContext,
  toHex,
} from "../base/mod.ts";
import { preadFull } from "../../ffi/mod.ts";
import { ObjectDirectory, type ObjectDirectoryOptions } from "../repository/mod.ts";
import { CONTENT_TYPE, SplitstreamWriter } from "../splitstream/mod.ts";
import { TarSplitter } from "../tar/mod.ts";
import type { BatchMemory } from "./batch.ts";
import { digestHash } from "./blob.ts";
import { LayerObjects, type LayerStats } from "./layer_objects.ts";
import type { Compression } from "./media_types.ts";
import { sniffCompression, unpack } from "./unpack.ts";

/** A layer to import, as sent to a worker. */
export interface LayerTask {
  /** The packed layer: descriptor number, offset and size in bytes. */
  readonly blob: { readonly fd: number; readonly offset: number; readonly size: number };
  /** Digest of the packed layer; `undefined` when nothing announces one. */
  readonly digest: string | undefined;
  /** Packing that the media type announces; `undefined` for a blob that is not split. */
  readonly tar: Compression | undefined;
  /** Digest of the unpacked layer; `undefined` when nothing announces one. */
  readonly diffId: string | undefined;
  /** Where the objects go. */
  readonly objects: ObjectDirectoryOptions;
  /** Number of batches that other workers would take, shared by all layers. */
  readonly credits: SharedArrayBuffer;
}

/** An imported layer; its splitstream is stored but has no name yet. */
export interface ImportedLayer {
  /** Object id of the splitstream file. */
  readonly stream: ObjectId;
  /** Size in bytes of the unpacked layer. */
  readonly size: number;
  /** What storing its files came to. */
  readonly stats: LayerStats;
  /** What the user should know. */
  readonly warnings: readonly string[];
}

/** What a layer's worker tells while it works. */
export type LayerEvent =
  | { readonly type: "progress"; readonly done: number; readonly objects: number }
  | { readonly type: "batch"; readonly memory: BatchMemory; readonly count: number };

const READ_SIZE = 256 * 1024;
/** Unpacked bytes between two turns of the event loop. */
const TURN_SIZE = 2 * 1024 * 1024;
/** Packed bytes between two progress events. */
const PROGRESS_STEP = 2 * 1024 * 1024;

/** Checks a running hash against the digest it should give. */
class Check {
  readonly #expected: Digest | undefined;
  readonly #hash: StreamHash | undefined;
  readonly #what: string;

  constructor(expected: string | undefined, what: string) {
    this.#what = what;
    if (expected === undefined) return;
    this.#expected = Digest.parse(expected);
    this.#hash = nodeHash.stream(digestHash(this.#expected));
  }

  update(bytes: Uint8Array): void {
    this.#hash?.update(bytes);
  }

  finish(): void {
    if (this.#hash === undefined) return;
    const actual = `${this.#expected!.algorithm}:${toHex(this.#hash.digest())}`;
    if (actual !== this.#expected!.toString()) {
      throw new DigestMismatchError(this.#what, this.#expected!.toString(), actual);
    }
  }
}

/**
 * Imports a layer: unpacks, checks both digests, splits, stores files and splitstream as objects.
 * Nothing gets a name, so a layer that turns out wrong leaves only garbage.
 *
 * @param beforeWait called before this thread blocks until another one is done with a batch
 * @throws {DigestMismatchError} when the packed or unpacked bytes are not what was announced
 */
export async function importLayer(
  task: LayerTask,
  context: TaskContext,
  beforeWait: () => void = () => {},
): Promise<ImportedLayer> {
  const packed = new Check(task.digest, "blob");
  const unpacked = new Check(task.tar === undefined ? undefined : task.diffId, "layer");
  const directory = new ObjectDirectory(task.objects);
  using writer = new SplitstreamWriter({
    algorithm: task.objects.algorithm,
    contentType: task.tar === undefined ? CONTENT_TYPE.ociBlob : CONTENT_TYPE.ociLayer,
    codec: nodeZstd,
  });
  using objects = new LayerObjects(writer, {
    directory,
    digestSize: task.objects.algorithm.size,
    credits: task.credits,
    beforeWait,
    handOver: (memory, count) =>
      context.emit({ type: "batch", memory, count } satisfies LayerEvent),
  });
  const warnings: string[] = [];
  const pieces = readPacked(task, { packed, context, objects });
  const compression = task.tar === undefined ? "none" : actualCompression(task, warnings);
  const splitter = task.tar === undefined ? undefined : new TarSplitter(objects);
  if (splitter === undefined) objects.externalStart(task.blob.size);
  let size = 0;
  let turn = TURN_SIZE;
  for await (const piece of unpack(pieces, compression)) {
    if (size >= turn) {
      // Lets this thread see messages: cancellation, and what other threads have to say.
      await letMessagesIn();
      context.signal.throwIfAborted();
      turn = size + TURN_SIZE;
    }
    unpacked.update(piece);
    size += piece.length;
    if (splitter === undefined) objects.externalData(piece);
    else splitter.push(piece);
  }
  if (splitter === undefined) objects.externalEnd();
  else splitter.finish();
  packed.finish();
  unpacked.finish();
  objects.finish();
  const stored = directory.store(writer.finish(), { thorough: true });
  for (const id of objects.repaired) warnings.push(`repaired damaged object ${id}`);
  return { stream: stored.id, size, stats: objects.stats, warnings };
}

/** The packed bytes, hashed as they are read; all pieces come in one buffer. */
function* readPacked(
  task: LayerTask,
  options: { packed: Check; context: TaskContext; objects: LayerObjects },
): Generator<Uint8Array, void, undefined> {
  const { fd, offset, size } = task.blob;
  const buffer = new Uint8Array(READ_SIZE);
  let told = 0;
  for (let done = 0; done < size;) {
    const piece = buffer.subarray(0, size - done);
    const got = preadFull(fd, piece, offset + done);
    if (got !== piece.length) {
      throw new FormatError("blob", `Blob ended after ${done + got} of ${size} bytes`);
    }
    options.packed.update(piece);
    done += got;
    if (done - told >= PROGRESS_STEP || done === size) {
      told = done;
      const objects = options.objects.stats.objects;
      options.context.emit({ type: "progress", done, objects } satisfies LayerEvent);
    }
    yield piece;
  }
}

/** The bytes decide how a layer is packed; a media type that says otherwise is worth a warning. */
function actualCompression(task: LayerTask, warnings: string[]): Compression {
  const head = new Uint8Array(new ArrayBuffer(4096), 0, Math.min(4, task.blob.size));
  preadFull(task.blob.fd, head, task.blob.offset);
  const actual = sniffCompression(head);
  if (actual !== task.tar) {
    const name = { none: "not compressed", gzip: "gzip", zstd: "zstd" };
    warnings.push(
      `layer ${task.digest ?? task.diffId} is ${name[actual]}, its media type says ${
        name[task.tar!]
      }`,
    );
  }
  return actual;
}
