/** Importing a layer from its tar-split and contents from here and there; runs in a worker. */
import {
  ComposefsError,
  DigestMismatchError,
  FormatError,
  nodeHash,
  nodeZstd,
  type ObjectId,
  objectPath,
  type TaskContext,
  toHex,
  withContext,
} from "../base/mod.ts";
import {
  ChunkUnpacker,
  DIGEST_SIZE,
  type FetchPlan,
  PIECE,
  rebuildTar,
  tarSplitLines,
  unpackPart,
} from "../chunked/mod.ts";
import { closeNumber, O, openNumber, preadFull } from "../../ffi/mod.ts";
import {
  type ImportedLayer,
  importUnpacked,
  type LayerEvent,
  type LayerTarget,
} from "./layer_import.ts";
import { waitForRange } from "../transport/mod.ts";

/** A layer of which only parts are fetched, as sent to a worker. */
export interface ChunkedTask extends LayerTarget {
  /** The compressed tar-split, its digest checked, and its size in bytes when unpacked. */
  readonly tarSplit: { readonly bytes: Uint8Array; readonly size: number };
  /** Content of each file line of the tar-split. */
  readonly files: Float64Array;
  /** sha256 of each content. */
  readonly digests: Uint8Array;
  /** Where each piece of content comes from. */
  readonly plan: FetchPlan;
  /** A file that has the fetched ranges where the blob has them. */
  readonly blob: { readonly fd: number; readonly offset: number };
  /** Memory of the ranges' arrival, when they are still arriving. */
  readonly arrived: SharedArrayBuffer | undefined;
}

const READ_SIZE = 256 * 1024;
/** Bytes of content between two progress events. */
const PROGRESS_STEP = 2 * 1024 * 1024;

/** Gives the contents of a layer. */
class Contents implements Disposable {
  /** Bytes of content so far. */
  done = 0;
  readonly #task: ChunkedTask;
  readonly #unpacker = new ChunkUnpacker(nodeZstd);
  readonly #buffer = new Uint8Array(READ_SIZE);
  #frame = new Uint8Array(READ_SIZE);
  #zeros: Uint8Array | undefined;

  constructor(task: ChunkedTask) {
    this.#task = task;
  }

  /** The bytes of a content; what is fetched of it is checked against its digest. */
  *content(content: number): Generator<Uint8Array, void, undefined> {
    const { plan, digests } = this.#task;
    const first = plan.firstPiece[content]!;
    const end = plan.firstPiece[content + 1]!;
    let fetched = false;
    for (let piece = first; piece < end; piece++) fetched ||= plan.kinds[piece] === PIECE.fetch;
    // What is reused is hashed with the layer, which tells as well.
    const hash = fetched ? nodeHash.stream("sha256") : undefined;
    for (let piece = first; piece < end; piece++) {
      for (const bytes of this.#piece(piece)) {
        hash?.update(bytes);
        this.done += bytes.length;
        yield bytes;
      }
    }
    if (hash === undefined) return;
    const expected = toHex(digests, content * DIGEST_SIZE, (content + 1) * DIGEST_SIZE);
    const actual = toHex(hash.digest());
    if (actual !== expected) {
      throw new DigestMismatchError("content", `sha256:${expected}`, `sha256:${actual}`);
    }
  }

  #piece(piece: number): Iterable<Uint8Array> {
    const { plan } = this.#task;
    const size = plan.sizes[piece]!;
    if (plan.kinds[piece] === PIECE.zeros) return this.#nothing(size);
    if (plan.kinds[piece] === PIECE.fetch) {
      return this.#unpacker.unpack(this.#fetched(piece), size);
    }
    const known = plan.known[plan.places[piece]!]!;
    if ("bytes" in known) return [known.bytes];
    return this.#object(known.object as ObjectId, { offset: known.offset, size });
  }

  *#nothing(size: number): Generator<Uint8Array, void, undefined> {
    const zeros = this.#zeros ??= new Uint8Array(READ_SIZE);
    for (let left = size; left > 0; left -= READ_SIZE) yield zeros.subarray(0, left);
  }

  /** The frame of a piece, as soon as it has arrived. */
  #fetched(piece: number): Uint8Array {
    const { plan, blob, arrived } = this.#task;
    const start = plan.places[piece]!;
    const length = plan.lengths[piece]!;
    if (arrived !== undefined) waitForRange(arrived, plan.ranges, start);
    if (length > this.#frame.length) {
      this.#frame = new Uint8Array(Math.max(length, 2 * this.#frame.length));
    }
    const frame = this.#frame.subarray(0, length);
    if (preadFull(blob.fd, frame, blob.offset + start) !== length) {
      throw new FormatError("blob", `Blob ends before ${start + length}`);
    }
    return frame;
  }

  *#object(
    id: ObjectId,
    part: { offset: number; size: number },
  ): Generator<Uint8Array, void, undefined> {
    const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
    const fd = openNumber(this.#task.objects.dir, objectPath(id), { flags });
    try {
      const end = part.offset + part.size;
      for (let at = part.offset; at < end;) {
        const piece = this.#buffer.subarray(0, end - at);
        const got = preadFull(fd, piece, at);
        if (got !== piece.length) throw new FormatError("object", `Object ${id} is too short`);
        yield piece;
        at += got;
      }
    } finally {
      closeNumber(fd);
    }
  }

  /** The first object whose content is not what it is known for. */
  damaged(): ObjectId | undefined {
    const { plan, digests } = this.#task;
    const contents = plan.firstPiece.length - 1;
    for (let content = 0; content < contents; content++) {
      const piece = plan.firstPiece[content]!;
      if (plan.kinds[piece] !== PIECE.known || plan.firstPiece[content + 1] !== piece + 1) continue;
      const known = plan.known[plan.places[piece]!]!;
      if ("bytes" in known) continue;
      const hash = nodeHash.stream("sha256");
      for (const bytes of this.#piece(piece)) hash.update(bytes);
      const expected = toHex(digests, content * DIGEST_SIZE, (content + 1) * DIGEST_SIZE);
      if (toHex(hash.digest()) !== expected) return known.object as ObjectId;
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#unpacker[Symbol.dispose]();
  }
}

/**
 * Imports a layer of which only parts were fetched: its tar is put together again and taken like
 * any other, so that its digest decides (spec: zstd-chunked 6 steps 6 to 9).
 *
 * @param beforeWait called before this thread blocks until another one is done with a batch
 * @throws {DigestMismatchError} when the tar, or a content that was fetched, is not what it should
 * @throws {FormatError} for faults in what was fetched
 */
export async function importChunked(
  task: ChunkedTask,
  context: TaskContext,
  beforeWait?: () => void,
): Promise<ImportedLayer> {
  using contents = new Contents(task);
  const { bytes, size } = task.tarSplit;
  let objects = 0;
  const pieces = async function* () {
    let told = 0;
    const lines = tarSplitLines(unpackPart(nodeZstd, bytes, { size, what: "tar-split" }));
    const content = (number: number) => contents.content(number);
    for (const piece of rebuildTar(lines, { files: task.files, content })) {
      if (contents.done - told >= PROGRESS_STEP) {
        told = contents.done;
        context.emit({ type: "progress", done: told, objects } satisfies LayerEvent);
      }
      yield piece;
    }
  };
  const layer = { pieces: pieces(), counted: (count: number) => objects = count, beforeWait };
  try {
    return await importUnpacked(task, layer, context);
  } catch (error) {
    if (!(error instanceof DigestMismatchError) || error.what !== "layer") throw error;
    const damaged = damagedObject(contents);
    if (damaged === undefined) throw error;
    throw withContext(`Object ${damaged} is corrupt`, error);
  }
}

function damagedObject(contents: Contents): ObjectId | undefined {
  try {
    return contents.damaged();
  } catch (error) {
    if (error instanceof ComposefsError) return undefined; // only a hint for the message
    throw error;
  }
}
