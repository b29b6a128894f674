/** Static deltas between stored commits (spec: ostree 7). */
import { Pool, type ProgressSink, UnsupportedError } from "../base/mod.ts";
import { lzma } from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import { parseMetadata } from "./commit_object.ts";
import { type EncodedFiles, type EncodeTask, unpackEncoded } from "./delta_encode.ts";
import { type PackedPart, PartWriter } from "./delta_part_write.ts";
import { fileGroups, planDelta, type PlannedFile, toEncode } from "./delta_plan.ts";
import type { DeltaFallback } from "./delta_superblock.ts";
import {
  encodeDeltaEnvelope,
  encodeDeltaSuperblock,
  type WrittenPart,
} from "./delta_superblock_write.ts";
import { objectPlace } from "./object_place.ts";
import type { SecretKey } from "./secret_key.ts";
import { openCommit, readDetachedMetadata, type StoredCommit } from "./stored_commit.ts";

/** Largest file that a delta can carry, in bytes: whoever applies it may have a part in memory. */
const MAX_FILE = 512 * 1024 * 1024;
/** What a part holds before the next one begins, and which files are patched, as ostree has it. */
const CHUNK_SIZE = 32_000_000;
const PATCH_SIZE = 128_000_000;
/** Threads at a time, unless said otherwise. */
const MOST_THREADS = 4;
/** What progress is called. */
const PROGRESS = "delta";

/** How a delta is made. */
export interface GenerateDeltaOptions {
  /** The commit that must be there to apply it. @default none */
  readonly from?: Checksum;
  /** The commit that it makes. */
  readonly to: Checksum;
  /** Put the parts inside the superblock; always so when they are not compressed. @default false */
  readonly inline?: boolean;
  /** Do not compress. Also where liblzma is missing. @default false */
  readonly plain?: boolean;
  /**
   * Leave files from this size on to be fetched as objects, unless the base has one that they can be
   * made from; in bytes. @default none
   */
  readonly minFallbackSize?: number;
  /** Bytes in a part before the next one begins. @default 32,000,000 */
  readonly maxChunkSize?: number;
  /** Largest file that becomes a patch, in bytes; 0 for no patches. @default 128,000,000 */
  readonly maxPatchSize?: number;
  /** Signs the superblock with this ed25519 key. @default not signed */
  readonly signKey?: SecretKey;
  /** When it was made, seconds since 1970. @default the time of the commit */
  readonly timestamp?: bigint;
  /** Takes each part's file as soon as it is made; the result has none of them then. */
  readonly onPart?: (bytes: Uint8Array, index: number) => void;
  /** Threads; each takes up to 0.5 GB for a large part. @default one for each of four processors */
  readonly jobs?: number;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
  /** Told how far it is. */
  readonly progress?: ProgressSink;
}

/** A delta that was made. */
export interface GeneratedDelta {
  /** Its superblock. */
  readonly superblock: Uint8Array;
  /** Number of its parts. */
  readonly parts: number;
  /** Files of its parts; none when they are inside or were handed on. */
  readonly files: readonly Uint8Array[];
  /** Bytes of the superblock and all parts' files. */
  readonly size: number;
  /** Objects in its parts. */
  readonly objects: number;
  /** Objects that are to be fetched besides. */
  readonly fallbacks: number;
  /** Files that are patches of others. */
  readonly patches: number;
}

/**
 * Makes a delta between two stored commits. What the first one has is left out; files that are like
 * one that it has become runs of that one, or a patch, whichever is smaller.
 *
 * @throws {NotFoundError} when a commit is not stored
 * @throws {DigestMismatchError} when an object is damaged
 * @throws {UnsupportedError} for files above 512 MiB that are no fallbacks
 */
export async function generateDelta(
  repository: Repository,
  options: GenerateDeltaOptions,
): Promise<GeneratedDelta> {
  const { from, to } = options;
  const target = openCommit(repository, to);
  const base = from === undefined ? undefined : openCommit(repository, from);
  const { jobs, signal } = options;
  await using pool = new Pool(new URL("./delta_worker.ts", import.meta.url), {
    size: Math.max(1, jobs ?? Math.min(MOST_THREADS, navigator.hardwareConcurrency)),
    ...(signal === undefined ? {} : { signal }),
  });
  return await new DeltaMaker(repository, pool, { ...options, target, base }).run();
}

/** A part on its way through a worker. */
interface PackingPart {
  readonly objects: Uint8Array;
  readonly uncompressedSize: number;
  readonly packed: Promise<PackedPart>;
}

class DeltaMaker {
  readonly #repository: Repository;
  readonly #pool: Pool;
  readonly #options: GenerateDeltaOptions & {
    target: StoredCommit;
    base: StoredCommit | undefined;
  };
  readonly #compress: boolean;
  /** Not every ostree can open the file of a part that is not compressed. */
  readonly #inline: boolean;
  readonly #packing: PackingPart[] = [];
  readonly #written: WrittenPart[] = [];
  readonly #files: Uint8Array[] = [];
  readonly #fallbacks: DeltaFallback[] = [];
  #part = new PartWriter();
  #objects = 0;
  #patches = 0;

  constructor(
    repository: Repository,
    pool: Pool,
    options: GenerateDeltaOptions & { target: StoredCommit; base: StoredCommit | undefined },
  ) {
    this.#repository = repository;
    this.#pool = pool;
    this.#options = options;
    this.#compress = options.plain !== true && lzma() !== undefined;
    this.#inline = options.inline === true || !this.#compress;
  }

  async run(): Promise<GeneratedDelta> {
    const { target, base } = this.#options;
    const { metadata, files } = planDelta(target, base);
    try {
      for (const { kind, checksum, bytes } of metadata) {
        await this.#add(bytes.length, (part) => part.addMetadata(kind, checksum, bytes));
      }
      const large: PlannedFile[] = [];
      for (const file of files) {
        const { checksum, header, content, external } = file;
        if (external !== undefined) large.push(file);
        else await this.#add(content.length, (part) => part.addWhole(checksum, header, content));
      }
      await this.#encode(large.filter((file) => this.#wanted(file)));
      await this.#flush();
      while (this.#packing.length > 0) await this.#finish();
    } finally {
      await Promise.allSettled(this.#packing.map(({ packed }) => packed));
    }
    return this.#result();
  }

  /** Whether a file goes into a part; a file that is too large, and like no other, does not. */
  #wanted(file: PlannedFile): boolean {
    const { checksum, header: { size }, source, external } = file;
    const { minFallbackSize = Infinity } = this.#options;
    if (source?.external === external) return true;
    if (size >= minFallbackSize && (source === undefined || size > MAX_FILE)) {
      this.#fallBack(file);
      return false;
    }
    if (size <= MAX_FILE) return true;
    const message = `Cannot put file object ${checksum} of ${size} bytes into a delta`;
    throw new UnsupportedError(message);
  }

  #fallBack({ checksum, header: { size } }: PlannedFile): void {
    // How small it gets in an archive is not known here; it is told for progress only.
    this.#fallbacks.push({ kind: "file", checksum, size, uncompressedSize: size });
  }

  async #encode(files: readonly PlannedFile[]): Promise<void> {
    const { maxPatchSize = PATCH_SIZE, minFallbackSize = Infinity } = this.#options;
    const place = objectPlace(this.#repository);
    const { progress } = this.#options;
    const total = files.reduce((sum, { header }) => sum + header.size, 0);
    progress?.({ type: "started", id: PROGRESS, unit: "bytes", total });
    let done = 0;
    const batches = [...fileGroups(files)];
    const tasks = batches.map((batch): EncodeTask => ({
      place,
      files: batch.map(toEncode),
      maxPatchSize,
    }));
    let index = 0;
    for await (const result of this.#pool.map<EncodeTask, EncodedFiles>("encode-files", tasks)) {
      const batch = batches[index++]!;
      let at = 0;
      for (const encoded of unpackEncoded(result)) {
        const file = batch[at++]!;
        done += encoded.size;
        if (encoded.source === undefined && encoded.size >= minFallbackSize) {
          this.#fallBack(file);
          continue;
        }
        if (encoded.patch) this.#patches++;
        const { checksum, header } = file;
        await this.#add(
          encoded.payload.length,
          (part) => part.addEncoded(checksum, header, encoded),
        );
      }
      progress?.({ type: "progress", id: PROGRESS, done });
    }
    progress?.({ type: "done", id: PROGRESS, transferred: done });
  }

  /** Adds an object with a payload of `size` bytes. */
  async #add(size: number, add: (part: PartWriter) => void): Promise<void> {
    const { maxChunkSize = CHUNK_SIZE } = this.#options;
    if (!this.#part.empty && this.#part.size + size > maxChunkSize) await this.#flush();
    add(this.#part);
    this.#objects++;
  }

  /** Sends the part to be packed. */
  async #flush(): Promise<void> {
    if (this.#part.empty) return;
    const { plain, ...rest } = this.#part.finish();
    this.#part = new PartWriter();
    const packed = this.#pool.run<PackedPart>("pack-part", { plain, compress: this.#compress }, {
      transfer: [plain.buffer],
    });
    packed.catch(() => {}); // seen in its turn; not unhandled until then
    this.#packing.push({ ...rest, packed });
    // As many parts are in memory as can be worked on.
    if (this.#packing.length > this.#pool.size) await this.#finish();
  }

  /** Takes the first part that is being packed. */
  async #finish(): Promise<void> {
    const { packed, ...rest } = this.#packing[0]!;
    const { bytes, checksum } = await packed;
    this.#packing.shift();
    const index = this.#written.length;
    const inline = this.#inline ? bytes : undefined;
    this.#written.push({ ...rest, checksum, size: bytes.length, inline });
    if (this.#inline) return;
    const { onPart } = this.#options;
    if (onPart === undefined) this.#files.push(bytes);
    else onPart(bytes, index);
  }

  #result(): GeneratedDelta {
    const { from, to, target, timestamp, signKey } = this.#options;
    const detached = readDetachedMetadata(this.#repository, target);
    const plain = encodeDeltaSuperblock({
      from,
      to,
      commitBytes: target.chunk.get(to)!.data,
      detached: detached === undefined ? undefined : parseMetadata(detached),
      timestamp: timestamp ?? target.commit.timestamp,
      parts: this.#written,
      fallbacks: this.#fallbacks,
    });
    const superblock = signKey === undefined
      ? plain
      : encodeDeltaEnvelope(plain, signKey.signatures(plain));
    const outside = this.#inline ? 0 : this.#written.reduce((sum, { size }) => sum + size, 0);
    return {
      superblock,
      parts: this.#written.length,
      files: this.#files,
      size: superblock.length + outside,
      objects: this.#objects,
      fallbacks: this.#fallbacks.length,
      patches: this.#patches,
    };
  }
}
