/** A layer laid out for making a delta: its tar where it can be read at any place, and what is in it. */
import {
  letMessagesIn,
  nodeHash,
  type ObjectId,
  type StreamHash,
  type TaskContext,
  toHex,
  UnsupportedError,
} from "../base/mod.ts";
import { pwriteAll } from "../../ffi/mod.ts";
import {
  readTarEntries,
  type TarChunk,
  type TarEntry,
  type TarSplitSink,
  TarSplitter,
} from "../tar/mod.ts";
import { sniffCompression, unpack } from "../transport/mod.ts";
import { blobHead, blobPieces } from "./blob_pieces.ts";
import { Check } from "./digest_check.ts";

/** A stretch of a file by descriptor number. */
export interface Stretch {
  /** Descriptor number. */
  readonly fd: number;
  /** Where it starts, in bytes. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly size: number;
}

/** A layer to scan, as sent to a worker. */
export interface ScanTask {
  /** The packed layer. */
  readonly blob: Stretch;
  /** How much of it is there, when it is still arriving. */
  readonly arrived?: SharedArrayBuffer | undefined;
  /** Digest of the packed layer; `undefined` when it was checked before. */
  readonly digest: string | undefined;
  /** Digest of the unpacked layer. */
  readonly diffId: string;
  /** Descriptor number of an empty file that takes the tar, when the blob is not a plain one. */
  readonly spool: number;
  /** Most bytes that are no files: they are held in memory. @default 512 MiB */
  readonly limit?: number;
}

/** Where a file's content is in a tar. */
export interface ContentPlace {
  /** SHA-256 of the content. */
  readonly id: ObjectId;
  /** Where it starts in the tar, in bytes. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly size: number;
}

/** A scanned layer. */
export interface ScannedLayer {
  /** Its tar. */
  readonly tar: Stretch;
  /** Its entries in order; contents above the inline limit are `external`, by their SHA-256. */
  readonly entries: readonly TarEntry[];
  /** Those contents in order. */
  readonly places: readonly ContentPlace[];
}

/** Unpacked bytes between two turns of the event loop. */
const TURN_SIZE = 16 * 1024 * 1024;
/** Headers of half a million files. */
const MAX_INLINE = 512 * 1024 * 1024;

/** Notes where contents are, and what stands between them. */
class Recorder implements TarSplitSink {
  readonly chunks: TarChunk[] = [];
  readonly places: ContentPlace[] = [];
  /** Whether what comes is of no interest any more: the archive has ended. */
  full = false;
  /** Bytes that are held. */
  inlineSize = 0;
  #at = 0;
  #size = 0;
  #hash: StreamHash = nodeHash.stream("sha256");

  inline(bytes: Uint8Array): void {
    this.#at += bytes.length;
    if (this.full) return;
    this.chunks.push({ type: "inline", bytes: bytes.slice() });
    this.inlineSize += bytes.length;
  }

  externalStart(size: number): void {
    this.#size = size;
    this.#hash = nodeHash.stream("sha256");
  }

  externalData(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  externalEnd(): void {
    const id = toHex(this.#hash.digest()) as ObjectId;
    this.chunks.push({ type: "external", id });
    this.places.push({ id, offset: this.#at, size: this.#size });
    this.#at += this.#size;
  }
}

/** The bytes of a blob, hashed as they go by. */
function* readBlob(
  { blob, arrived }: ScanTask,
  check: Check,
): Generator<Uint8Array, void, undefined> {
  for (const piece of blobPieces({ ...blob, arrived })) {
    check.update(piece);
    yield piece;
  }
}

/**
 * Scans a layer: unpacks it where needed, checks both digests, hashes every file.
 *
 * @throws {DigestMismatchError} when the packed or unpacked bytes are not what was announced
 * @throws {FormatError} for a tar that the splitter does not take
 */
export async function scanLayer(task: ScanTask, context: TaskContext): Promise<ScannedLayer> {
  const compression = sniffCompression(blobHead({ ...task.blob, arrived: task.arrived }));
  const packed = new Check(task.digest, "blob");
  const unpacked = new Check(task.diffId, "layer");
  const recorder = new Recorder();
  const splitter = new TarSplitter(recorder);
  const { limit = MAX_INLINE } = task;
  let size = 0;
  let turn = TURN_SIZE;
  for await (const piece of unpack(readBlob(task, packed), compression)) {
    unpacked.update(piece);
    splitter.push(piece);
    recorder.full ||= splitter.ended;
    if (recorder.inlineSize > limit) {
      throw new UnsupportedError(`More than ${limit} bytes of the layer are no files`);
    }
    if (compression !== "none") pwriteAll(task.spool, piece, size);
    size += piece.length;
    if (size < turn) continue;
    turn = size + TURN_SIZE;
    await letMessagesIn();
    context.signal.throwIfAborted();
  }
  splitter.finish();
  packed.finish();
  unpacked.finish();
  return {
    tar: compression === "none" ? task.blob : { fd: task.spool, offset: 0, size },
    entries: [...readTarEntries(recorder.chunks)],
    places: recorder.places,
  };
}
