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
  letMessagesIn,
  nodeHash,
  type ObjectId,
  toByteString,
} from "../base/mod.ts";
import {
  ContentIndex,
  DIGEST_SIZE,
  type IndexedContent,
  type KnownContent,
  type KnownContents,
  SMALL_MAX,
  type Toc,
} from "../chunked/mod.ts";
import { O, openAt, preadFull, readDir, statAt, unlinkAt } from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import { chunkedPaths, chunkKey, CUT_MIN, cutObjects, plainPath } from "./chunk_search.ts";
import { indexedLayer, openIndexes } from "./content_index_files.ts";
import { readLayerEntries } from "../tar/mod.ts";

/** Indexes and layers without one that are looked at, the newest first. */
const MOST_LAYERS = 64;
/** Most bytes of indexes that are read; they are kept in memory. */
const MOST_BYTES = 256 * 2 ** 20;
/** Objects of layers without an index that are remembered. */
const MOST_OBJECTS = 500_000;
/** Bytes hashed at least and at most, as a multiple of those that are wanted. */
const HASH_FREELY = 64 * 2 ** 20;
const HASH_FACTOR = 4;
/** Bytes hashed between two turns of the event loop. */
const TURN_SIZE = 8 * 2 ** 20;

/** What is known of the layers that have no index. */
interface Unindexed {
  /** Objects by size; hashed when that size is wanted. */
  readonly bySize: Map<number, Set<ObjectId>>;
  /** Small contents by sha256. */
  readonly small: Map<ByteString, Uint8Array>;
  /** Large objects by the plain path of a file that is one. */
  readonly large: Map<ByteString, ObjectId>;
}

/** An index and its file. */
interface NamedIndex {
  readonly index: ContentIndex;
  readonly name: string;
  /** Whether something was found through it. */
  used: boolean;
}

/** The contents of a repository. */
export class ContentCache implements KnownContents {
  readonly #repository: Repository;
  readonly #indexes: NamedIndex[] = [];
  readonly #indexed = new Set<string>();
  readonly #found = new Map<ByteString, ObjectId>();
  readonly #foundChunks = new Map<ByteString, IndexedContent>();
  readonly #cut = new Set<ObjectId>();
  readonly #except: ReadonlySet<ObjectId>;
  #unindexed: Unindexed | undefined;

  /**
   * Opens the indexes that are there; damaged ones are passed over.
   *
   * @param options.except objects that are damaged and therefore have nothing
   */
  constructor(repository: Repository, options: { except?: Iterable<ObjectId> | undefined } = {}) {
    this.#repository = repository;
    this.#except = new Set(options.except);
    this.#readIndexes();
  }

  #readIndexes(): void {
    const { algorithm } = this.#repository;
    using dir = openIndexes(this.#repository);
    if (dir === undefined) return;
    const files: { name: string; layer: string; time: number; size: number }[] = [];
    for (const entry of readDir(dir)) {
      const layer = indexedLayer(entry.name);
      const stat = layer === undefined ? undefined : statAt(dir, entry.name);
      if (layer === undefined || !stat?.isFile) continue;
      files.push({ name: entry.name, layer, time: Number(stat.mtimeSec), size: stat.size });
    }
    files.sort((a, b) => b.time - a.time || (a.name < b.name ? -1 : 1));
    let left = MOST_BYTES;
    for (const { name, layer, size } of files.slice(0, MOST_LAYERS)) {
      if (size > left) continue;
      left -= size;
      try {
        using fd = openAt(dir, name, { flags: O.RDONLY | O.NOFOLLOW | O.NONBLOCK });
        const bytes = new Uint8Array(new ArrayBuffer(Math.max(size, 4096)), 0, size);
        if (preadFull(fd, bytes, 0) !== size) continue;
        const options = { digestSize: algorithm.size, hash: nodeHash };
        this.#indexes.push({ index: new ContentIndex(bytes, options), name, used: false });
        this.#indexed.add(layer);
      } catch (error) {
        // Only a hint: without it, more is looked at or fetched.
        if (!(error instanceof ComposefsError)) throw error;
      }
    }
  }

  /**
   * Removes the indexes that something was found through: a layer that was made with that is not
   * what it should be. Those that said the truth are a loss of time and no more.
   */
  distrust(): void {
    const lying = this.#indexes.filter(({ used }) => used);
    if (lying.length === 0) return;
    this.#indexes.splice(0, Infinity, ...this.#indexes.filter(({ used }) => !used));
    try {
      using dir = openIndexes(this.#repository);
      if (dir !== undefined) { for (const { name } of lying) unlinkAt(dir, name); }
    } catch (error) {
      // Only a hint: the next pull finds out again.
      if (!(error instanceof ComposefsError)) throw error;
    }
  }

  /** Whether an object is there with at least, or exactly, this size. */
  #has(id: ObjectId, size: number, exact: boolean): boolean {
    if (this.#except.has(id)) return false;
    const found = this.#repository.objects.size(id);
    return found !== undefined && (exact ? found === size : found >= size);
  }

  file(digest: Uint8Array, size: number): KnownContent | undefined {
    if (size <= SMALL_MAX) return this.#small(digest, size);
    const found = this.#found.get(toByteString(digest));
    if (found !== undefined && this.#has(found, size, true)) return { object: found, offset: 0 };
    for (const one of this.#indexes) {
      const object = one.index.file(digest, size);
      if (object === undefined || !this.#has(object, size, true)) continue;
      one.used = true;
      return { object, offset: 0 };
    }
    return undefined;
  }

  chunk(digest: Uint8Array, size: number): KnownContent | undefined {
    for (const one of this.#indexes) {
      const part = one.index.chunk(digest, size);
      if (part === undefined || !this.#has(part.object, part.offset + size, false)) continue;
      one.used = true;
      return part;
    }
    const cut = this.#foundChunks.get(chunkKey(digest, size));
    if (cut !== undefined && this.#has(cut.object, cut.offset + size, false)) return cut;
    return this.file(digest, size);
  }

  #small(digest: Uint8Array, size: number): KnownContent | undefined {
    const key = toByteString(digest);
    const bytes = this.#unindexed?.small.get(key);
    if (bytes?.length === size) return { bytes };
    for (const { index } of this.#indexes) {
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
