/** Layers from another repository; runs in a worker (spec: repository 12). */
import {
  type Digest,
  DigestMismatchError,
  FormatError,
  letMessagesIn,
  nodeZstd,
  type ObjectId,
  type TaskContext,
  UnsupportedError,
} from "../base/mod.ts";
import { type Fd, fstat, preadFull } from "../../ffi/mod.ts";
import {
  type DiskObjectStore,
  ObjectDirectory,
  singleObject,
  type StoredObject,
  streamContent,
} from "../repository/mod.ts";
import { CONTENT_TYPE, type Splitstream, SplitstreamWriter } from "../splitstream/mod.ts";
import {
  type ImportedLayer,
  importUnpacked,
  type LayerEvent,
  type LayerTarget,
} from "./layer_import.ts";
import { type Check, storedLayerCheck } from "./digest_check.ts";
import { openStore, readStoredStream, type StoreRoot } from "./pack.ts";
import { SplitCheck } from "./split_check.ts";

/** A layer of another repository, as sent to a worker. */
export interface StoredLayerTask extends LayerTarget {
  /** The other repository. */
  readonly source: StoreRoot;
  /** Object of its splitstream there. */
  readonly stream: ObjectId;
  /** What it is called. */
  readonly name: string;
  /** Digest of the stored content; `undefined` when nothing tells it: objects are verified then. */
  readonly content: string | undefined;
  /** Share blocks or files instead of copying; an error where that cannot be. */
  readonly zerocopy: boolean;
}

/** Bytes between two turns of the event loop, and two progress events. */
const TURN_SIZE = 4 * 1024 * 1024;
const PIECE = 1 << 20;

/**
 * Imports a layer from another repository: its content is hashed and must be what it is said to be.
 *
 * @throws {DigestMismatchError} when it is not
 * @throws {UnsupportedError} when nothing can be shared, and that was asked for
 */
export async function importStoredLayer(
  task: StoredLayerTask,
  context: TaskContext,
  beforeWait?: () => void,
): Promise<ImportedLayer> {
  using objects = openStore(task.source);
  const stream = readStoredStream(objects, task.stream);
  const check = storedLayerCheck(task.content);
  if (task.zerocopy) return await new Sharing(task, { objects, stream, check }).run(context);
  const blob = stream.contentType === CONTENT_TYPE.ociBlob;
  let done = 0;
  let told = 0;
  let count = 0;
  const content = streamContent({ objects }, stream, { verify: task.content === undefined });
  async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    for (const piece of content) {
      if (blob) check.update(piece);
      done += piece.length;
      yield piece;
      if (done < told + TURN_SIZE) continue;
      told = done;
      context.emit({ type: "progress", done, objects: count } satisfies LayerEvent);
    }
  }
  // The digest of a tar is checked by who splits it.
  const imported = await importUnpacked({ ...task, diffId: task.content }, {
    pieces: pieces(),
    ...(blob ? { blobSize: sizeOf(stream), check: () => check.finish() } : {}),
    counted: (objects) => count = objects,
    beforeWait,
  }, context);
  return { ...imported, warnings: [...unverified(task), ...imported.warnings] };
}

/** What is only known by its packed form cannot be compared with it once it is unpacked. */
function unverified({ content, name }: StoredLayerTask): string[] {
  if (content !== undefined) return [];
  return [
    `layer ${name} was stored unpacked, so that it is as trustworthy as the other repository`,
  ];
}

function sizeOf(stream: Splitstream): number {
  if (stream.streamSize > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new FormatError("splitstream", `Stream says it has ${stream.streamSize} bytes`);
  }
  return Number(stream.streamSize);
}

/** The import of one layer whose objects are shared, chunk by chunk as they are there. */
class Sharing {
  readonly #task: StoredLayerTask;
  readonly #objects: DiskObjectStore;
  readonly #stream: Splitstream;
  readonly #check: Check;
  /** Whether the layer is split as its tar has to be; none for blobs, which are one object. */
  readonly #split: SplitCheck | undefined;
  readonly #directory: ObjectDirectory;
  readonly #piece = new Uint8Array(PIECE);
  readonly #stats = { objects: 0, created: 0, createdBytes: 0, inlineBytes: 0 };
  readonly #warnings: string[] = [];
  #size = 0;

  constructor(
    task: StoredLayerTask,
    source: { objects: DiskObjectStore; stream: Splitstream; check: Check },
  ) {
    this.#task = task;
    this.#objects = source.objects;
    this.#stream = source.stream;
    this.#check = source.check;
    this.#split = splitCheck(source.stream);
    this.#directory = new ObjectDirectory(task.objects);
  }

  async run(context: TaskContext): Promise<ImportedLayer> {
    const stream = this.#stream;
    using writer = new SplitstreamWriter({
      algorithm: this.#task.objects.algorithm,
      contentType: stream.contentType,
      codec: nodeZstd,
    });
    let turn = TURN_SIZE;
    for (const chunk of stream.chunks()) {
      if (chunk.type === "inline") {
        this.#take(chunk.bytes);
        this.#stats.inlineBytes += chunk.bytes.length;
        writer.addInline(chunk.bytes);
      } else {
        const { id, size } = this.#share(stream.objectRefs.id(chunk.index));
        writer.addExternal(id, size);
      }
      if (this.#size < turn) continue;
      turn = this.#size + TURN_SIZE;
      const { objects } = this.#stats;
      context.emit({ type: "progress", done: this.#size, objects } satisfies LayerEvent);
      await letMessagesIn();
      context.signal.throwIfAborted();
    }
    this.#split?.finish();
    this.#check.finish();
    const stored = this.#directory.store(writer.finish(), { thorough: true });
    return {
      stream: stored.id,
      size: this.#size,
      stats: this.#stats,
      warnings: [...unverified(this.#task), ...this.#warnings],
    };
  }

  #take(bytes: Uint8Array): void {
    this.#check.update(bytes);
    this.#split?.bytes(bytes);
    this.#size += bytes.length;
  }

  /** Shares an object: blocks where the file system can, else the file by a second name. */
  #share(id: ObjectId): StoredObject {
    const { fd } = this.#objects.open(id);
    using source = fd;
    this.#split?.object(fstat(source).size);
    const stored = this.#clone(source) ?? this.#adopt(source, id);
    if (stored.id !== id) throw new DigestMismatchError("object", id, stored.id);
    this.#stats.objects++;
    if (stored.outcome === "new") {
      this.#stats.created++;
      this.#stats.createdBytes += stored.size;
    } else if (stored.outcome === "repaired") {
      this.#warnings.push(`repaired damaged object ${id}`);
    }
    return stored;
  }

  #clone(source: Fd): StoredObject | undefined {
    using clone = this.#directory.clone(source);
    if (clone === undefined) return undefined;
    this.#read(clone.fd, (piece) => clone.write(piece));
    return clone.finish();
  }

  #adopt(source: Fd, id: ObjectId): StoredObject {
    // What is read here is the file that gets the name, so its digest is that of the object.
    const actual = this.#directory.idOfFile(source);
    if (actual !== id) throw new DigestMismatchError("object", id, actual);
    const { size } = fstat(source);
    this.#read(source, () => {});
    const stored = this.#directory.adopt(source, { id, size });
    if (stored !== undefined) return stored;
    throw new UnsupportedError(
      `Object ${id} can neither be cloned nor linked: zerocopy needs the same file system`,
    );
  }

  #read(fd: Fd, also: (piece: Uint8Array) => void): void {
    for (let offset = 0;;) {
      const got = preadFull(fd, this.#piece, offset);
      const piece = this.#piece.subarray(0, got);
      if (got > 0) {
        this.#take(piece);
        also(piece);
      }
      offset += got;
      if (got < PIECE) return;
    }
  }
}

/**
 * What makes sure that parts can be taken over as they are.
 *
 * @throws {FormatError} for streams that are no layers
 */
function splitCheck(stream: Splitstream): SplitCheck | undefined {
  if (stream.contentType === CONTENT_TYPE.ociLayer) return new SplitCheck();
  if (stream.contentType === CONTENT_TYPE.ociBlob) {
    singleObject(stream);
    return undefined;
  }
  throw new FormatError("splitstream", "Stream is no layer");
}

/** The digest that a layer's stored content must have, when there is one. */
export function contentDigest(
  layer: { id: Digest; blob: Digest; plain: boolean },
  contentType: bigint,
): Digest | undefined {
  const { id, blob, plain } = layer;
  // An artifact's layer is known by its packed form: unpacked, only the objects can be verified.
  const artifact = id.equals(blob);
  if (contentType === CONTENT_TYPE.ociBlob || !artifact || plain) return id;
  return undefined;
}
