/** Packing a stored layer into a blob again; runs in a worker (spec: oci 4, 6). */
import { constants, createGzip, createZstdCompress } from "node:zlib";
import {
  type Algorithm,
  letMessagesIn,
  nodeHash,
  nodeZstd,
  type ObjectId,
  SyncZlib,
  type TaskContext,
  toHex,
  UnsupportedError,
} from "../base/mod.ts";
import { openDir, pwriteAll } from "../../ffi/mod.ts";
import { DiskObjectStore, streamContent } from "../repository/mod.ts";
import { openSplitstream, type Splitstream } from "../splitstream/mod.ts";
import type { Compression } from "../transport/mod.ts";
import { storedLayerCheck } from "./digest_check.ts";

/** Where stored layers are read; plain data, so that it can be sent to a worker. */
export interface StoreRoot {
  /** Descriptor number of the repository's directory. */
  readonly root: number;
  /** Algorithm of the repository. */
  readonly algorithm: Algorithm;
  /** Whether every object must have fs-verity enabled. */
  readonly secure: boolean;
}

/** How a layer is packed. */
export interface Packing {
  /** The format. */
  readonly compression: Compression;
  /** Level of compression; `undefined` for the usual one: 6 of gzip, 3 of zstd. */
  readonly level: number | undefined;
}

/** A layer to pack, as sent to a worker. */
export interface PackTask {
  /** Where it is. */
  readonly store: StoreRoot;
  /** Object of its splitstream. */
  readonly stream: ObjectId;
  /** Digest of the unpacked content; `undefined` when nothing tells it: objects are verified then. */
  readonly content: string | undefined;
  /** How to pack it. */
  readonly packing: Packing;
  /** Where the blob goes: descriptor number, offset in bytes. */
  readonly output: { readonly fd: number; readonly offset: number };
}

/** A packed layer. */
export interface PackedBlob {
  /** Digest of the blob, sha256. */
  readonly digest: string;
  /** Size of the blob in bytes. */
  readonly size: number;
}

/** Highest levels, the lowest being 1. */
const MAX_LEVEL = { none: 0, gzip: 9, zstd: 19 } as const;
const DEFAULT_LEVEL = { none: 0, gzip: 6, zstd: 3 } as const;
/** Packed bytes that are gathered before they are written. */
const OUTPUT = 1 << 18;
/** Unpacked bytes between two turns of the event loop, and two progress events. */
const TURN_SIZE = 4 * 1024 * 1024;

/**
 * Checks a level of compression.
 *
 * @throws {UnsupportedError} when the format has no such level
 */
export function checkLevel({ compression, level }: Packing): void {
  if (level === undefined) return;
  const most = MAX_LEVEL[compression];
  if (most === 0) throw new UnsupportedError("Without compression there is no level");
  if (!Number.isInteger(level) || level < 1 || level > most) {
    throw new UnsupportedError(`${compression} has levels from 1 to ${most}, not ${level}`);
  }
}

/** Opens the store that a task names, with a descriptor of its own. */
export function openStore(store: StoreRoot): DiskObjectStore & Disposable {
  const root = openDir(store.root, ".");
  const objects = new DiskObjectStore(root, store);
  const close = objects[Symbol.dispose].bind(objects);
  return Object.assign(objects, {
    [Symbol.dispose]() {
      close();
      root.close();
    },
  });
}

/** Opens a splitstream of a store. */
export function readStoredStream(objects: DiskObjectStore, id: ObjectId): Splitstream {
  const { algorithm } = objects;
  return openSplitstream(objects.read(id), { algorithm, codec: nodeZstd });
}

/** Packs bytes and writes them from an offset of a file on; hashes what it writes. */
class Packer implements Disposable {
  readonly #fd: number;
  readonly #start: number;
  readonly #hash = nodeHash.stream("sha256");
  readonly #steps: SyncZlib | undefined;
  readonly #flush: { readonly go: number; readonly end: number };
  readonly #output = new Uint8Array(OUTPUT);
  #size = 0;

  constructor(packing: Packing, output: PackTask["output"]) {
    this.#fd = output.fd;
    this.#start = output.offset;
    const zstd = packing.compression === "zstd";
    this.#flush = zstd
      ? { go: constants.ZSTD_e_continue, end: constants.ZSTD_e_end }
      : { go: constants.Z_NO_FLUSH, end: constants.Z_FINISH };
    if (packing.compression === "none") return;
    this.#steps = SyncZlib.open(compressor(packing), packing.compression);
    if (this.#steps === undefined) {
      throw new UnsupportedError("This runtime cannot compress step by step");
    }
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#steps === undefined) this.#write(bytes);
    else this.#run(this.#flush.go, bytes);
  }

  finish(): PackedBlob {
    if (this.#steps !== undefined) this.#run(this.#flush.end, this.#output.subarray(0, 0));
    return { digest: `sha256:${toHex(this.#hash.digest())}`, size: this.#size };
  }

  #run(flush: number, input: Uint8Array): void {
    const steps = this.#steps!;
    for (let at = 0;;) {
      const made = steps.step(flush, input, at, this.#output);
      if (made > 0) this.#write(this.#output.subarray(0, made));
      at = input.length - steps.inputLeft;
      if (made < this.#output.length && at === input.length) return;
    }
  }

  #write(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    pwriteAll(this.#fd, bytes, this.#start + this.#size);
    this.#size += bytes.length;
  }

  [Symbol.dispose](): void {
    this.#steps?.[Symbol.dispose]();
  }
}

/** A compressor without a time, name or size in its header: the same input gives the same blob. */
function compressor({ compression, level }: Packing): unknown {
  const wanted = level ?? DEFAULT_LEVEL[compression];
  if (compression === "gzip") return createGzip({ level: wanted });
  return createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: wanted } });
}

/**
 * Packs a stored layer: every byte of its tar as it was pulled, checked against its digest.
 *
 * @throws {DigestMismatchError} when the stored content is not what it should be
 */
export async function packLayer(task: PackTask, context: TaskContext): Promise<PackedBlob> {
  using objects = openStore(task.store);
  const stream = readStoredStream(objects, task.stream);
  using packer = new Packer(task.packing, task.output);
  const check = storedLayerCheck(task.content);
  let size = 0;
  let turn = TURN_SIZE;
  for (const piece of streamContent({ objects }, stream, { verify: task.content === undefined })) {
    check.update(piece);
    packer.push(piece);
    size += piece.length;
    if (size < turn) continue;
    turn = size + TURN_SIZE;
    context.emit(size);
    await letMessagesIn();
    context.signal.throwIfAborted();
  }
  check.finish();
  return packer.finish();
}
