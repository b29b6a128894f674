/**
 * Finding out which contents a repository has, by their sha256 (spec: zstd-chunked 8): through the
 * indexes kept beside the objects, and in layers that have none by looking at objects of the sizes
 * that are wanted.
 *
 * @module
 */
import {
  type ByteString,
  ComposefsError,
  type Digest,
  letMessagesIn,
  nodeHash,
  type ObjectId,
  toByteString,
} from "../base/mod.ts";
import {
  ContentIndex,
  ContentIndexBuilder,
  DIGEST_SIZE,
  type IndexedContent,
  type KnownContent,
  type KnownContents,
  SMALL_MAX,
  type Toc,
} from "../chunked/mod.ts";
import {
  O,
  openAt,
  openIfExists,
  openOrMakeDir,
  preadFull,
  readDir,
  renameAt,
  statAt,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import { chunkedPaths, chunkKey, CUT_MIN, cutObjects, plainPath } from "./chunk_search.ts";
import { readLayerEntries } from "../tar/mod.ts";

/** Directory of the indexes in the repository; what is in it can be lost at any time. */
const DIRECTORY = "cfs-index";
const INDEX_NAME = /^l-([a-z0-9]+:[0-9a-f]+|[0-9a-f]+)\.v1$/;
const TEMPORARY = ".tmp-";
/** Indexes and layers without one that are looked at, the newest first. */
const MOST_LAYERS = 64;
/** Largest index that is read. */
const MAX_INDEX = 256 * 2 ** 20;
/** Objects of layers without an index that are remembered. */
const MOST_OBJECTS = 500_000;
/** Bytes hashed at least and at most, as a multiple of those that are wanted. */
const HASH_FREELY = 64 * 2 ** 20;
const HASH_FACTOR = 4;
/** Bytes hashed between two turns of the event loop. */
const TURN_SIZE = 8 * 2 ** 20;

/** Name of a layer's index: the bare hex for sha256, as it is for nearly all. */
function indexName(layer: string): string {
  return `l-${layer.replace(/^sha256:/, "")}.v1`;
}

/** What is known of the layers that have no index. */
interface Unindexed {
  /** Objects by size; hashed when that size is wanted. */
  readonly bySize: Map<number, Set<ObjectId>>;
  /** Small contents by sha256. */
  readonly small: Map<ByteString, Uint8Array>;
  /** Large objects by the plain path of a file that is one. */
  readonly large: Map<ByteString, ObjectId>;
}

/** The contents of a repository. */
export class ContentCache implements KnownContents {
  readonly #repository: Repository;
  readonly #indexes: ContentIndex[] = [];
  readonly #indexed = new Set<string>();
  readonly #found = new Map<ByteString, ObjectId>();
  readonly #foundChunks = new Map<ByteString, IndexedContent>();
  readonly #cut = new Set<ObjectId>();
  #unindexed: Unindexed | undefined;

  /** Opens the indexes that are there; damaged ones are passed over. */
  constructor(repository: Repository) {
    this.#repository = repository;
    this.#readIndexes();
  }

  #readIndexes(): void {
    const { directory, algorithm } = this.#repository;
    using dir = openIfExists(directory, DIRECTORY, { flags: O.RDONLY | O.DIRECTORY });
    if (dir === undefined) return;
    const files: { name: string; layer: string; time: number; size: number }[] = [];
    for (const entry of readDir(dir)) {
      const layer = INDEX_NAME.exec(entry.name)?.[1];
      const stat = layer === undefined ? undefined : statAt(dir, entry.name);
      if (layer === undefined || !stat?.isFile || stat.size > MAX_INDEX) continue;
      files.push({ name: entry.name, layer, time: Number(stat.mtimeSec), size: stat.size });
    }
    files.sort((a, b) => b.time - a.time || (a.name < b.name ? -1 : 1));
    for (const { name, layer, size } of files.slice(0, MOST_LAYERS)) {
      try {
        using fd = openAt(dir, name, { flags: O.RDONLY | O.NOFOLLOW | O.NONBLOCK });
        const bytes = new Uint8Array(new ArrayBuffer(Math.max(size, 4096)), 0, size);
        if (preadFull(fd, bytes, 0) !== size) continue;
        const options = { digestSize: algorithm.size, hash: nodeHash };
        this.#indexes.push(new ContentIndex(bytes, options));
        this.#indexed.add(layer.includes(":") ? layer : `sha256:${layer}`);
      } catch (error) {
        // Only a hint: without it, more is looked at or fetched.
        if (!(error instanceof ComposefsError)) throw error;
      }
    }
  }

  /** Whether an object is there with at least, or exactly, this size. */
  #has(id: ObjectId, size: number, exact: boolean): boolean {
    const found = this.#repository.objects.size(id);
    return found !== undefined && (exact ? found === size : found >= size);
  }

  file(digest: Uint8Array, size: number): KnownContent | undefined {
    if (size <= SMALL_MAX) return this.#small(digest, size);
    const found = this.#found.get(toByteString(digest));
    if (found !== undefined && this.#has(found, size, true)) return { object: found, offset: 0 };
    for (const index of this.#indexes) {
      const object = index.file(digest, size);
      if (object !== undefined && this.#has(object, size, true)) return { object, offset: 0 };
    }
    return undefined;
  }

  chunk(digest: Uint8Array, size: number): KnownContent | undefined {
    for (const index of this.#indexes) {
      const part = index.chunk(digest, size);
      if (part !== undefined && this.#has(part.object, part.offset + size, false)) return part;
    }
    const cut = this.#foundChunks.get(chunkKey(digest, size));
    if (cut !== undefined && this.#has(cut.object, cut.offset + size, false)) return cut;
    return this.file(digest, size);
  }

  #small(digest: Uint8Array, size: number): KnownContent | undefined {
    const key = toByteString(digest);
    const bytes = this.#unindexed?.small.get(key);
    if (bytes?.length === size) return { bytes };
    for (const index of this.#indexes) {
      const found = index.small(digest, size);
      if (found !== undefined && sha256(found) === key) return { bytes: found.slice() };
    }
    return undefined;
  }

  /**
   * Looks through layers without an index for the contents of a table of contents that are not
   * known yet, so that later lookups find them.
   */
  async search(toc: Toc, options: { signal: AbortSignal }): Promise<void> {
    const sizes = new Set<number>();
    const wanted = new Set<ByteString>();
    let bytes = 0;
    for (let content = 0; content < toc.sizes.length; content++) {
      const digest = toc.digests.subarray(content * DIGEST_SIZE, (content + 1) * DIGEST_SIZE);
      const size = toc.sizes[content]!;
      if (this.file(digest, size) !== undefined) continue;
      sizes.add(size);
      wanted.add(toByteString(digest));
      bytes += size;
    }
    if (wanted.size === 0) return;
    this.#unindexed ??= await this.#collect(options.signal);
    const budget = HASH_FREELY + HASH_FACTOR * bytes;
    await this.#searchFiles({ sizes, wanted, budget, signal: options.signal });
    const missing = (content: number) =>
      wanted.has(
        toByteString(toc.digests.subarray(content * DIGEST_SIZE, (content + 1) * DIGEST_SIZE)),
      );
    const objects = new Set<ObjectId>();
    for (const path of chunkedPaths(toc, missing)) {
      const object = this.#unindexed.large.get(path);
      if (object === undefined || this.#cut.has(object)) continue;
      objects.add(object);
      this.#cut.add(object);
    }
    await cutObjects(this.#repository, objects, {
      found: this.#foundChunks,
      budget,
      signal: options.signal,
    });
  }

  /** Hashes objects of the wanted sizes; what is found is wanted no more. */
  async #searchFiles(
    options: { sizes: Set<number>; wanted: Set<ByteString>; budget: number; signal: AbortSignal },
  ): Promise<void> {
    const { sizes, wanted } = options;
    const { bySize } = this.#unindexed!;
    let { budget } = options;
    let turn = 0;
    for (const size of sizes) {
      const objects = bySize.get(size) ?? [];
      for (const id of objects) {
        if (wanted.size === 0 || budget < size) return;
        budget -= size;
        if ((turn += size) >= TURN_SIZE) {
          turn = 0;
          await letMessagesIn();
          options.signal.throwIfAborted();
        }
        const digest = this.#hashObject(id);
        if (digest === undefined) continue;
        this.#found.set(digest, id);
        wanted.delete(digest);
      }
      bySize.delete(size);
    }
  }

  #hashObject(id: ObjectId): ByteString | undefined {
    const hash = nodeHash.stream("sha256");
    try {
      for (const piece of this.#repository.objects.pieces(id)) hash.update(piece);
    } catch (error) {
      if (error instanceof ComposefsError) return undefined; // gone, or not to be trusted
      throw error;
    }
    return toByteString(hash.digest());
  }

  /** Goes through the newest layers without an index: objects by size, and small contents. */
  async #collect(signal: AbortSignal): Promise<Unindexed> {
    const bySize = new Map<number, Set<ObjectId>>();
    const small = new Map<ByteString, Uint8Array>();
    const large = new Map<ByteString, ObjectId>();
    let count = 0;
    for (const name of this.#layersWithoutIndex()) {
      await letMessagesIn();
      signal.throwIfAborted();
      try {
        const stream = this.#repository.openStream(name, { contentType: CONTENT_TYPE.ociLayer });
        for (const { path, item } of readLayerEntries(stream)) {
          if (++count > MOST_OBJECTS) return { bySize, small, large };
          if (item.type === "external") {
            const plain = item.size < CUT_MIN ? "" : plainPath(path);
            // The newest layer comes first.
            if (plain !== "" && !large.has(plain)) large.set(plain, item.digest as ObjectId);
            const objects = bySize.get(item.size);
            if (objects === undefined) bySize.set(item.size, new Set([item.digest as ObjectId]));
            else objects.add(item.digest as ObjectId);
          } else if (item.type === "inline" && item.data.length > 0) {
            small.set(sha256(item.data), item.data);
          }
        }
      } catch (error) {
        // A layer that is damaged is none to take contents from.
        if (!(error instanceof ComposefsError)) throw error;
      }
    }
    return { bySize, small, large };
  }

  #layersWithoutIndex(): string[] {
    const prefix = "oci-layer-";
    const { directory } = this.#repository;
    return this.#repository.listStreams()
      .filter((name) => name.startsWith(prefix) && !this.#indexed.has(name.slice(prefix.length)))
      .map((name) => ({ name, time: Number(statAt(directory, `streams/${name}`)?.mtimeSec ?? 0) }))
      .sort((a, b) => b.time - a.time)
      .slice(0, MOST_LAYERS)
      .map(({ name }) => name);
  }
}

function sha256(bytes: Uint8Array): ByteString {
  const hash = nodeHash.stream("sha256");
  hash.update(bytes);
  return toByteString(hash.digest());
}

/**
 * Keeps which contents a layer has: its table of contents says so, and its digest has proved it.
 *
 * @param layer.stream object of the layer's splitstream
 * @param layer.files content of each file line of its tar-split
 */
export function keepContentIndex(
  repository: Repository,
  diffId: Digest,
  layer: { stream: ObjectId; toc: Toc; files: Float64Array },
): void {
  const bytes = indexLayer(repository, layer);
  if (bytes === undefined) return;
  try {
    using dir = openOrMakeDir(repository.directory, DIRECTORY);
    const name = indexName(diffId.toString());
    const temporary = `${TEMPORARY}${crypto.randomUUID()}`;
    try {
      using fd = openAt(dir, temporary, { flags: O.CREAT | O.EXCL | O.RDWR, mode: 0o644 });
      writeAll(fd, bytes);
      renameAt(dir, temporary, dir, name);
    } catch (error) {
      unlinkAt(dir, temporary);
      throw error;
    }
  } catch (error) {
    // Only a hint: the next pull looks at more, or fetches it.
    if (!(error instanceof ComposefsError)) throw error;
  }
}

/** The index of a layer; undefined when its entries are not those of its tar-split. */
function indexLayer(
  repository: Repository,
  layer: { stream: ObjectId; toc: Toc; files: Float64Array },
): Uint8Array | undefined {
  const { toc, files } = layer;
  const builder = new ContentIndexBuilder(repository.algorithm.size);
  const stream = repository.openStreamObject(layer.stream);
  let line = 0;
  for (const { item } of readLayerEntries(stream)) {
    const content = item.type === "external" || (item.type === "inline" && item.data.length > 0);
    if (!content) continue;
    while (line < files.length && files[line]! < 0) line++;
    const number = files[line++];
    if (number === undefined) return undefined;
    const size = item.type === "external" ? item.size : item.data.length;
    if (toc.sizes[number] !== size) return undefined;
    const digest = toc.digests.subarray(number * DIGEST_SIZE, (number + 1) * DIGEST_SIZE);
    if (item.type === "inline") builder.small(digest, item.data);
    else addObject(builder, { toc, number, object: item.digest as ObjectId });
  }
  return builder.size === 0 ? undefined : builder.finish(nodeHash);
}

function addObject(
  builder: ContentIndexBuilder,
  content: { toc: Toc; number: number; object: ObjectId },
): void {
  const { toc, number, object } = content;
  const digest = toc.digests.subarray(number * DIGEST_SIZE, (number + 1) * DIGEST_SIZE);
  builder.file(digest, { object, size: toc.sizes[number]! });
  const end = toc.firstChunk[number + 1]!;
  let offset = 0;
  for (let chunk = toc.firstChunk[number]!; chunk < end; chunk++) {
    const size = toc.chunkSizes[chunk]!;
    if (toc.chunkZeros[chunk] === 0 && end - toc.firstChunk[number]! > 1) {
      const at = chunk * DIGEST_SIZE;
      const chunkDigest = toc.chunkDigests.subarray(at, at + DIGEST_SIZE);
      builder.chunk(chunkDigest, { object, offset, size });
    }
    offset += size;
  }
}

/**
 * Removes indexes of layers that are gone, and what was left of unfinished ones.
 *
 * @returns number of files removed
 */
export function pruneContentIndexes(repository: Repository): number {
  using dir = openIfExists(repository.directory, DIRECTORY, { flags: O.RDONLY | O.DIRECTORY });
  if (dir === undefined) return 0;
  const kept = new Set(repository.listStreams());
  let removed = 0;
  for (const { name } of readDir(dir)) {
    const layer = INDEX_NAME.exec(name)?.[1];
    const stream = `oci-layer-${layer?.includes(":") ? layer : `sha256:${layer}`}`;
    if (layer === undefined ? !name.startsWith(TEMPORARY) : kept.has(stream)) continue;
    unlinkAt(dir, name);
    removed++;
  }
  return removed;
}
