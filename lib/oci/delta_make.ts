/** The steps of making a tar-diff that run in workers (spec: oci 7.6). */
import { constants, createZstdCompress } from "node:zlib";
import {
  FormatError,
  letMessagesIn,
  nodeHash,
  type ObjectId,
  SyncZlib,
  type TaskContext,
  toHex,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import {
  applyTarDiff,
  ContentIndex,
  type ContentIndexParts,
  type LayerPart,
  PartDiffer,
  SourceTable,
  type SourceTableMemory,
  TableSource,
  TAR_DIFF_LIMITS,
  TAR_DIFF_MAGIC,
  TarDiffWriter,
} from "../delta/mod.ts";
import { preadFull, pwriteAll } from "../../ffi/mod.ts";
import { SharedContents, type SharedContentsMemory } from "./delta_contents.ts";
import type { Stretch } from "./delta_scan.ts";
import { Check } from "./digest_check.ts";
import { unpack } from "../transport/mod.ts";

/** Fills the index of all contents. */
export interface IndexTask {
  /** The old image. */
  readonly contents: SharedContentsMemory;
  /** The index, still empty. */
  readonly index: ContentIndexParts;
}

/** Makes the operations for one part of a layer. */
export interface DiffTask {
  /** The old image. */
  readonly contents: SharedContentsMemory;
  /** Its index; `undefined` when all files are in the old image as they are. */
  readonly index: ContentIndexParts | undefined;
  /** The new layer's tar. */
  readonly fresh: Stretch;
  /** The part. */
  readonly part: LayerPart;
}

/** Packs the operations of a layer. */
export interface PackDiffTask {
  /** Plain text of the operations. */
  readonly plain: Stretch;
  /** Descriptor number of the file that takes the tar-diff. */
  readonly output: number;
}

/** A tar-diff that was made. */
export interface PackedDiff {
  /** Its sha256. */
  readonly digest: string;
  /** Its size in bytes. */
  readonly size: number;
}

/** Applies a tar-diff and compares what comes out with what should. */
export interface CheckDiffTask {
  /** The tar-diff. */
  readonly diff: Stretch;
  /** Files of the old image by name, listed independently of how the delta was made. */
  readonly sources: SourceTableMemory;
  /** Where their contents are. */
  readonly places: ReadonlyMap<ObjectId, Stretch>;
  /** Digest of the new layer's tar. */
  readonly diffId: string;
}

const PIECE = 256 * 1024;
/** Bytes of a content that are indexed at a time. */
const INDEX_PIECE = 4 * 2 ** 20;
const LEVEL = 19;
const MIN_WINDOW_LOG = 17;
/** From here on matches that are far apart are looked for with a table of their own. */
const LONG_DISTANCE_LOG = 23;
/** Work between two turns of the event loop, in bytes. */
const TURN_SIZE = 4 * 2 ** 20;

/** Memory of at least this size has an address that stays. */
function bufferOf(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(Math.max(4096, length)), 0, length);
}

/** Lets messages in now and then, and gives up when told to. */
class Turns {
  readonly #context: TaskContext;
  #next = TURN_SIZE;

  constructor(context: TaskContext) {
    this.#context = context;
  }

  async take(done: number): Promise<void> {
    if (done < this.#next) return;
    this.#next = done + TURN_SIZE;
    this.#context.emit(done);
    await letMessagesIn();
    this.#context.signal.throwIfAborted();
  }
}

/** Fills an index; on one thread, since the order decides which of equal blocks is kept. */
export async function indexContents(task: IndexTask, context: TaskContext): Promise<void> {
  const contents = new SharedContents(task.contents);
  const index = new ContentIndex(task.index);
  const { step } = task.index;
  const advance = Math.floor(INDEX_PIECE / step) * step;
  const room = bufferOf(advance + ContentIndex.overlap);
  const turns = new Turns(context);
  for (let i = 0, done = 0; i < contents.count; i++) {
    const size = contents.size(i);
    for (let at = 0; at < size; at += advance) {
      index.insert(i, room.subarray(0, contents.read(i, room, at)), at);
    }
    done += size;
    await turns.take(done);
  }
}

/** The differ of this thread: a pool serves one delta, so what it was made for stays the same. */
let differ: PartDiffer | undefined;

/** Makes the operations of a part; the pieces move to the caller. */
export function diffPart(task: DiffTask, context: TaskContext): Uint8Array<ArrayBuffer>[] {
  const { fresh, index } = task;
  differ ??= new PartDiffer({
    old: new SharedContents(task.contents),
    index: index === undefined ? undefined : new ContentIndex(index),
  });
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const writer = new TarDiffWriter((piece) => pieces.push(piece));
  differ.diff(task.part, (target, position) => {
    if (preadFull(fresh.fd, target, fresh.offset + position) !== target.length) {
      throw new FormatError("layer", "The new image changed while it was read");
    }
  }, writer);
  writer.finish();
  context.transfer(...pieces.map((piece) => piece.buffer));
  return pieces;
}

/** The pieces of a stretch, all in one buffer. */
async function* read(stretch: Stretch, turns: Turns): AsyncGenerator<Uint8Array, void, undefined> {
  const room = bufferOf(PIECE);
  for (let done = 0; done < stretch.size;) {
    const piece = room.subarray(0, Math.min(PIECE, stretch.size - done));
    if (preadFull(stretch.fd, piece, stretch.offset + done) !== piece.length) {
      throw new FormatError("tar-diff", "A temporary file ended early");
    }
    done += piece.length;
    yield piece;
    await turns.take(done);
  }
}

/** Appends to a file and hashes what it appends. */
class HashedFile {
  readonly #fd: number;
  readonly #hash = nodeHash.stream("sha256");
  #size = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    pwriteAll(this.#fd, bytes, this.#size);
    this.#size += bytes.length;
  }

  finish(): PackedDiff {
    return { digest: `sha256:${toHex(this.#hash.digest())}`, size: this.#size };
  }
}

/** The window is as large as the operations, so that appliers need no more memory than that. */
function compressor(size: number): SyncZlib {
  const log = Math.ceil(Math.log2(Math.max(size, 2)));
  const windowLog = Math.min(TAR_DIFF_LIMITS.windowLog, Math.max(MIN_WINDOW_LOG, log));
  const params = {
    [constants.ZSTD_c_compressionLevel]: LEVEL,
    [constants.ZSTD_c_windowLog]: windowLog,
    [constants.ZSTD_c_enableLongDistanceMatching]: windowLog > LONG_DISTANCE_LOG ? 1 : 0,
  };
  const steps = SyncZlib.open(createZstdCompress({ params }), "zstd");
  if (steps === undefined) {
    throw new UnsupportedError("This runtime cannot compress step by step");
  }
  return steps;
}

/** Packs operations into a tar-diff. */
export async function packDiff(task: PackDiffTask, context: TaskContext): Promise<PackedDiff> {
  using steps = compressor(task.plain.size);
  const file = new HashedFile(task.output);
  const output = bufferOf(PIECE);
  output.set(TAR_DIFF_MAGIC);
  file.write(output.subarray(0, TAR_DIFF_MAGIC.length));
  const run = (flush: number, input: Uint8Array) => {
    for (let at = 0;;) {
      const made = steps.step(flush, input, at, output);
      if (made > 0) file.write(output.subarray(0, made));
      at = input.length - steps.inputLeft;
      if (made < output.length && at === input.length) return;
    }
  };
  for await (const piece of read(task.plain, new Turns(context))) {
    run(constants.ZSTD_e_continue, piece);
  }
  run(constants.ZSTD_e_end, output.subarray(0, 0));
  return file.finish();
}

/**
 * Applies a tar-diff to the old image's files.
 *
 * @throws {DigestMismatchError} when something else than the new layer comes out
 */
export async function checkDiff(task: CheckDiffTask, context: TaskContext): Promise<void> {
  const check = new Check(task.diffId, "layer");
  const source = new TableSource(new SourceTable(task.sources), (id, size) => {
    const place = task.places.get(id)!;
    return {
      size,
      read: (target, position) =>
        preadFull(
          place.fd,
          target.subarray(0, Math.max(0, Math.min(target.length, size - position))),
          place.offset + position,
        ),
    };
  });
  try {
    const pieces = applyTarDiff(read(task.diff, new Turns(context)), {
      source,
      unpack: (packed) => unpack(packed, "zstd"),
    });
    for await (const piece of pieces) check.update(piece);
    check.finish();
  } catch (cause) {
    context.signal.throwIfAborted();
    throw withContext("The delta that was made does not give the new layer", cause);
  }
}
