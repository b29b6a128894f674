/** Importing one layer into a repository; runs in a worker (spec: oci 2). */
import { letMessagesIn, nodeZstd, type ObjectId, type TaskContext } from "../base/mod.ts";
import { ObjectDirectory, type ObjectDirectoryOptions, SpaceWatch } from "../repository/mod.ts";
import { CONTENT_TYPE, SplitstreamWriter } from "../splitstream/mod.ts";
import { TarSplitter } from "../tar/mod.ts";
import { type Compression, sniffCompression, unpack } from "../transport/mod.ts";
import type { BatchMemory } from "./batch.ts";
import { LayerObjects, type LayerStats } from "./layer_objects.ts";
import { blobHead, blobPieces, type BlobTask } from "./blob_pieces.ts";
import { Check } from "./digest_check.ts";
import { zeroPadding } from "./padding.ts";

/** What every layer's task has, however its bytes are come by. */
export interface LayerTarget {
  /** Digest of the unpacked layer; `undefined` when nothing announces one. */
  readonly diffId: string | undefined;
  /** Where the objects go. */
  readonly objects: ObjectDirectoryOptions;
  /** Number of batches that other workers would take, shared by all layers. */
  readonly credits: SharedArrayBuffer;
  /** Put back zeros at the end that a faulty encoder has dropped. @default false */
  readonly repairPadding?: boolean | undefined;
}

/** A layer to import from a blob, as sent to a worker. */
export interface LayerTask extends LayerTarget {
  /** The packed layer. */
  readonly blob: BlobTask;
  /** Digest of the packed layer; `undefined` when nothing announces one. */
  readonly digest: string | undefined;
  /** Packing that the media type announces; `undefined` for a blob that is not split. */
  readonly tar: Compression | undefined;
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
  | {
    readonly type: "batch";
    readonly memory: BatchMemory;
    readonly count: number;
    readonly turn: number;
  };

/** Unpacked bytes between two turns of the event loop. */
const TURN_SIZE = 2 * 1024 * 1024;
/** Packed bytes between two progress events. */
const PROGRESS_STEP = 2 * 1024 * 1024;

/** How the unpacked bytes of a layer are taken. */
export interface UnpackedLayer {
  /** The bytes; each piece is done with when the next one is asked for. */
  readonly pieces: AsyncIterable<Uint8Array>;
  /** Size of a blob that is kept as it is; `undefined` for a tar, which is split. */
  readonly blobSize?: number | undefined;
  /** Checks of the source's, made before anything is stored under the layer's identity. */
  readonly check?: () => void;
  /** Whether its encoder may have dropped zeros at the end. @default false */
  readonly mayLackPadding?: boolean;
  /** Told the number of files so far now and then. */
  readonly counted?: (objects: number) => void;
  /**
   * The object that is known to hold the `size` bytes of the tar from `offset` on; `undefined` when
   * there is none. Asked when those bytes, a whole file, are next.
   */
  readonly stored?: ((offset: number, size: number) => ObjectId | undefined) | undefined;
  /** Called before this thread blocks until another one is done with a batch. */
  readonly beforeWait?: (() => void) | undefined;
}

/**
 * Imports a layer from its unpacked bytes: checks its digest, splits, stores files and splitstream
 * as objects. Nothing gets a name, so a layer that turns out wrong leaves only garbage. Runs where
 * it may block; `context` emits {@linkcode LayerEvent}s.
 *
 * @throws {DigestMismatchError} when the bytes are not what was announced
 * @throws {UnsupportedError} before the file system is full
 */
export async function importUnpacked(
  target: LayerTarget,
  layer: UnpackedLayer,
  context: TaskContext,
): Promise<ImportedLayer> {
  const { blobSize, counted = () => {} } = layer;
  const unpacked = new Check(blobSize === undefined ? target.diffId : undefined, "layer");
  const directory = new ObjectDirectory(target.objects);
  using writer = new SplitstreamWriter({
    algorithm: target.objects.algorithm,
    contentType: blobSize === undefined ? CONTENT_TYPE.ociLayer : CONTENT_TYPE.ociBlob,
    codec: nodeZstd,
  });
  using objects = new LayerObjects(writer, {
    directory,
    digestSize: target.objects.algorithm.size,
    credits: target.credits,
    ...(layer.beforeWait === undefined ? {} : { beforeWait: layer.beforeWait }),
    // Who looks for damage hashes everything.
    stored: target.objects.thorough ? undefined : layer.stored,
    handOver: ({ memory, count, turn }) =>
      context.emit({ type: "batch", memory, count, turn } satisfies LayerEvent),
  });
  const splitter = blobSize === undefined ? new TarSplitter(objects) : undefined;
  if (blobSize !== undefined) objects.externalStart(blobSize);
  const space = new SpaceWatch(target.objects.dir);
  let size = 0;
  let turn = TURN_SIZE;
  for await (const piece of layer.pieces) {
    if (size >= turn) {
      // Lets this thread see messages: cancellation, and what other threads have to say.
      await letMessagesIn();
      context.signal.throwIfAborted();
      turn = size + TURN_SIZE;
    }
    unpacked.update(piece);
    size += piece.length;
    space.check(size);
    if (splitter === undefined) objects.externalData(piece);
    else splitter.push(piece);
    counted(objects.stats.objects);
  }
  const warnings: string[] = [];
  const padding = layer.mayLackPadding ? unpacked.padding() : 0;
  if (padding > 0) {
    layer.check?.();
    if (!target.repairPadding) throw unpacked.paddingError(padding);
    const zeros = zeroPadding(padding);
    unpacked.update(zeros);
    splitter?.push(zeros);
    size += padding;
    warnings.push(`layer ${target.diffId}: ${padding} bytes of zero padding were put back`);
  }
  if (splitter === undefined) objects.externalEnd();
  else splitter.finish();
  if (padding === 0) layer.check?.();
  unpacked.finish();
  objects.finish();
  const stored = directory.store(writer.finish(), { thorough: true });
  warnings.push(...objects.repaired.map((id) => `repaired damaged object ${id}`));
  return { stream: stored.id, size, stats: objects.stats, warnings };
}

/**
 * Imports a layer from its blob: unpacks, checks both digests, splits and stores.
 *
 * @param beforeWait called before this thread blocks until another one is done with a batch
 * @throws {DigestMismatchError} when the packed or unpacked bytes are not what was announced
 */
export async function importLayer(
  task: LayerTask,
  context: TaskContext,
  beforeWait?: () => void,
): Promise<ImportedLayer> {
  const packed = new Check(task.digest, "blob");
  const warnings: string[] = [];
  const reader = new PackedReader(task, { packed, context });
  const compression = task.tar === undefined ? "none" : actualCompression(task, warnings);
  const imported = await importUnpacked(task, {
    pieces: unpack(reader.pieces(), compression),
    blobSize: task.tar === undefined ? task.blob.size : undefined,
    mayLackPadding: compression === "zstd",
    // What follows the end of the unpacked stream belongs to the blob all the same.
    check: () => packed.finish(),
    counted: (objects) => reader.objects = objects,
    beforeWait,
  }, context);
  return { ...imported, warnings: [...warnings, ...imported.warnings] };
}

/** The packed bytes, hashed as they are read; all pieces come in one buffer. */
export class PackedReader {
  /** Files that are stored already, for progress events. */
  objects = 0;
  readonly #blob: BlobTask;
  readonly #packed: Check;
  readonly #context: TaskContext;

  /** Reads the blob of a task; tells `context` how far it is. */
  constructor(task: { readonly blob: BlobTask }, options: { packed: Check; context: TaskContext }) {
    this.#blob = task.blob;
    this.#packed = options.packed;
    this.#context = options.context;
  }

  /** The pieces, each valid until the next one is asked for. */
  *pieces(): Generator<Uint8Array, void, undefined> {
    const { size } = this.#blob;
    let done = 0;
    let told = 0;
    for (const piece of blobPieces(this.#blob)) {
      this.#packed.update(piece);
      done += piece.length;
      if (done - told >= PROGRESS_STEP || done === size) {
        told = done;
        const { objects } = this;
        this.#context.emit({ type: "progress", done, objects } satisfies LayerEvent);
      }
      yield piece;
    }
  }
}

/** The bytes decide how a layer is packed; a media type that says otherwise is worth a warning. */
function actualCompression(task: LayerTask, warnings: string[]): Compression {
  const actual = sniffCompression(blobHead(task.blob));
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
