/** Making a delta between two images (spec: oci 7.6). */
import {
  Digest,
  FormatError,
  type ObjectId,
  Pool,
  type ProgressSink,
  withContext,
} from "../base/mod.ts";
import { type Fd, preadFull, pwriteAll } from "../../ffi/mod.ts";
import {
  ContentIndex,
  type ContentIndexParts,
  DELTA_TYPE,
  divideLayer,
  type LayerPart,
  listContents,
  type NewFile,
  Pairer,
  type SourceTableMemory,
  TAR_DIFF_TYPE,
  type TargetCompat,
  treeSources,
} from "../delta/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { TarEntry } from "../tar/mod.ts";
import { type DeltaBlob, deltaManifest, EMPTY_CONFIG, sha256 } from "./delta_manifest.ts";
import { shareContents, type SharedContentsMemory } from "./delta_contents.ts";
import {
  type DeltaImage,
  type DeltaLayer,
  openDeltaImage,
  scratchDirectory,
} from "./delta_image.ts";
import type { CheckDiffTask, DiffTask, IndexTask, PackDiffTask, PackedDiff } from "./delta_make.ts";
import type { ScannedLayer, ScanTask, Stretch } from "./delta_scan.ts";
import { type ImageDestination, openScratch } from "./destination.ts";
import type { Descriptor, Platform } from "./documents.ts";
import { LayerTreeBuilder } from "./layer_tree.ts";
import { type Compression, tarCompression } from "./media_types.ts";
import { openDestination } from "./open_destination.ts";
import type { SourceOptions } from "./open_source.ts";
import { sniffCompression } from "./unpack.ts";

/** How a delta is made. */
export interface DeltaCreateOptions {
  /** Where it goes: `oci:PATH[:TAG]` or `oci-archive:PATH[:TAG]`, or what else can be pushed to. */
  destination: string;
  /** Opens the repository; called for images without a transport. */
  openRepository?: () => Repository;
  /** Platform to choose from indexes. @default the one this program runs on */
  platform?: Platform;
  /** Appliers that it has to work with. @default "any" */
  compat?: TargetCompat;
  /** Type of the artifact. @default the one that the reference takes */
  artifactType?: string;
  /** Workers. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** How sources are opened. */
  source?: SourceOptions;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is, per layer. */
  progress?: ProgressSink;
}

/** A layer of the new image that the old one does not have. */
export interface CreatedLayer {
  /** Digest of its tar. */
  readonly diffId: Digest;
  /** Digest of the packed layer in the new image. */
  readonly layer: Digest;
  /** Its size in bytes. */
  readonly layerSize: number;
  /** Blob of the delta. */
  readonly blob: Digest;
  /** Media type of that: a tar-diff, or a layer as it is. */
  readonly mediaType: string;
  /** Its size in bytes. */
  readonly size: number;
}

/** What making a delta came to. */
export interface DeltaCreateResult {
  /** Digest of the delta's manifest. */
  readonly manifestDigest: Digest;
  /** Manifest digest of the new image. */
  readonly target: Digest;
  /** Manifest digest of the old image. */
  readonly source: Digest;
  /** The layers that are in the delta. */
  readonly layers: readonly CreatedLayer[];
  /** Number of layers that the images share. */
  readonly reused: number;
  /** Bytes of all blobs. */
  readonly size: number;
  /** Bytes of the layers that they stand for, as the new image has them. */
  readonly layerSize: number;
}

/**
 * Makes a delta: the layers that the old image lacks, written as operations on the files it has.
 * Everything is applied again and compared before it is published. The result depends on the images
 * and this program's version only.
 *
 * @param images references with a transport, or tags or digests of the repository
 * @throws {NotFoundError} when an image is not there
 * @throws {DigestMismatchError} when content is not what was announced; as a cause
 */
export async function createDelta(
  images: { readonly old: string; readonly fresh: string },
  options: DeltaCreateOptions,
): Promise<DeltaCreateResult> {
  try {
    await using destination = await openDestination(options.destination, options);
    await using work = new AsyncDisposableStack();
    const stop = new AbortController();
    const { signal } = options;
    const pool = new Pool(new URL("./delta_create_worker.ts", import.meta.url), {
      size: Math.max(1, options.jobs ?? navigator.hardwareConcurrency),
      signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]),
    });
    const open = async (reference: string) =>
      work.use(
        await openDeltaImage(reference, {
          ...options.source,
          signal,
          openRepository: options.openRepository,
          platform: options.platform,
          pool,
        }),
      );
    // Closed before the files that the workers have open.
    const old = await open(images.old);
    const fresh = await open(images.fresh);
    const files = work.use(new DisposableStack());
    work.use(pool);
    work.defer(() => stop.abort());
    return await new Creation({ old, fresh, pool, files, destination }, options).run();
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw withContext(`Unable to make a delta from ${images.old} to ${images.fresh}`, cause);
  }
}

/** What a creation works on; all of it is closed by whoever opened it. */
interface Creating {
  readonly old: DeltaImage;
  readonly fresh: DeltaImage;
  readonly pool: Pool;
  readonly files: DisposableStack;
  readonly destination: ImageDestination;
}

/** The old image as the workers know it. */
interface OldView {
  readonly pairer: Pairer;
  readonly contents: SharedContentsMemory;
  readonly sizes: readonly number[];
  readonly sources: SourceTableMemory;
  readonly places: ReadonlyMap<ObjectId, Stretch>;
}

/** A layer that goes into the delta. */
interface ChangedLayer {
  readonly diffId: Digest;
  readonly descriptor: Descriptor;
  readonly blob: DeltaLayer;
  readonly scanned: ScannedLayer;
  readonly files: readonly NewFile[];
}

/** A blob of the delta before it is in its place. */
interface MadeBlob {
  readonly from: Stretch;
  readonly digest: Digest;
  readonly mediaType: string;
}

/** Layers scanned at a time, besides those that wait for a worker. */
const LANES = 8;
const PIECE = 2 ** 20;
/** Media types of a tar layer by how it is packed. */
const LAYER_TYPES: Readonly<Record<Compression, string>> = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
};

/** One delta in the making. */
class Creation {
  readonly #old: DeltaImage;
  readonly #fresh: DeltaImage;
  readonly #pool: Pool;
  readonly #files: DisposableStack;
  readonly #destination: ImageDestination;
  readonly #options: DeltaCreateOptions;
  readonly #progress: ProgressSink;

  constructor({ old, fresh, pool, files, destination }: Creating, options: DeltaCreateOptions) {
    this.#old = old;
    this.#fresh = fresh;
    this.#pool = pool;
    this.#files = files;
    this.#destination = destination;
    this.#options = options;
    this.#progress = options.progress ?? (() => {});
  }

  async run(): Promise<DeltaCreateResult> {
    for (const { manifest, config } of [this.#old, this.#fresh]) {
      if (manifest.layers.length === config.diffIds.length) continue;
      throw new FormatError(
        "image config",
        `diff_id count (${config.diffIds.length}) doesn't match layer count (${manifest.layers.length})`,
      );
    }
    const known = new Set(this.#old.config.diffIds.map(String));
    const numbers = firstOf(this.#fresh.config.diffIds)
      .filter((number) => !known.has(this.#fresh.config.diffIds[number]!.toString()));
    const view = await this.#oldView(numbers.length === 0);
    const changed = await mapLanes(numbers, (number) => this.#changed(number, view));
    const index = await this.#index(view, changed);
    const made = await this.#diff(changed, view, index);
    return await this.#publish(changed, made, known);
  }

  /** A temporary file that lives as long as the work. */
  #scratch(): Fd {
    return this.#files.use(openScratch(scratchDirectory()));
  }

  async #scan(
    image: DeltaImage,
    number: number,
  ): Promise<{ blob: DeltaLayer; scanned: ScannedLayer }> {
    const diffId = image.config.diffIds[number]!.toString();
    try {
      const blob = await image.layer(number);
      const task: ScanTask = { ...blob, diffId, spool: this.#scratch().number };
      return { blob, scanned: await this.#pool.run<ScannedLayer>("scan-layer", task) };
    } catch (cause) {
      throw withContext(`Reading layer ${diffId}`, cause);
    }
  }

  /** Merges the old image's layers and lists what its files hold. */
  async #oldView(unneeded: boolean): Promise<OldView> {
    const { diffIds } = this.#old.config;
    const numbers = unneeded ? [] : firstOf(diffIds);
    const scans = await mapLanes(numbers, (number) => this.#scan(this.#old, number));
    const places = new Map<ObjectId, Stretch>();
    const entries = new Map<string, readonly TarEntry[]>();
    for (const [i, { scanned }] of scans.entries()) {
      entries.set(diffIds[numbers[i]!]!.toString(), scanned.entries);
      const { fd, offset } = scanned.tar;
      for (const place of scanned.places) {
        const { id, size } = place;
        if (!places.has(id)) places.set(id, { fd, offset: offset + place.offset, size });
      }
    }
    const builder = new LayerTreeBuilder();
    for (const diffId of unneeded ? [] : diffIds) {
      builder.applyLayer(entries.get(diffId.toString())!, diffId.toString());
    }
    const contents = listContents(builder.tree, { compat: this.#options.compat ?? "any" });
    return {
      pairer: new Pairer(contents),
      contents: shareContents(contents, ({ id }) => places.get(id)!),
      sizes: contents.map(({ size }) => size),
      sources: treeSources(builder.tree),
      places,
    };
  }

  /** Scans a layer of the new image and finds where its files come from. */
  async #changed(number: number, { pairer }: OldView): Promise<ChangedLayer> {
    const { blob, scanned } = await this.#scan(this.#fresh, number);
    const files: NewFile[] = [];
    for (const { path, item } of scanned.entries) {
      if (item.type !== "external") continue;
      const { id, offset, size } = scanned.places[files.length]!;
      const name = path.replace(/^(?:\.?\/)+/, "");
      files.push({ offset, size, ...pairer.find(name, { id, size }) });
    }
    return {
      diffId: this.#fresh.config.diffIds[number]!,
      descriptor: this.#fresh.manifest.layers[number]!,
      blob,
      scanned,
      files,
    };
  }

  /** The index of the old image's content, when there is something to look up. */
  async #index(
    view: OldView,
    changed: readonly ChangedLayer[],
  ): Promise<ContentIndexParts | undefined> {
    const needed = changed.some(({ files }) => files.some(({ same }) => !same));
    if (!needed || view.sizes.length === 0) return undefined;
    const { parts } = ContentIndex.create(view.sizes);
    const task: IndexTask = { contents: view.contents, index: parts };
    await this.#pool.run("index-contents", task);
    return parts;
  }

  /** Makes the tar-diffs of all layers, and decides which layers go as they are. */
  async #diff(
    changed: readonly ChangedLayer[],
    view: OldView,
    index: ContentIndexParts | undefined,
  ): Promise<MadeBlob[]> {
    const made: Promise<MadeBlob>[] = [];
    const tasks: { layer: number; part: LayerPart; task: DiffTask }[] = [];
    for (const [layer, { files, scanned }] of changed.entries()) {
      for (const part of divideLayer(files, scanned.tar.size)) {
        const task = { contents: view.contents, index, fresh: scanned.tar, part };
        tasks.push({ layer, part, task });
      }
    }
    const results = this.#pool.map<DiffTask, Uint8Array[]>(
      "diff-part",
      tasks.map(({ task }) => task),
    );
    try {
      let output: Fd | undefined;
      let size = 0;
      let next = 0;
      for await (const pieces of results) {
        const { layer, part } = tasks[next++]!;
        const { diffId, scanned } = changed[layer]!;
        const id = diffId.toString();
        if (output === undefined) {
          output = this.#scratch();
          size = 0;
          this.#progress({ type: "started", id, unit: "bytes", total: scanned.tar.size });
        }
        size = appendPieces(output, pieces, size);
        this.#progress({ type: "progress", id, done: part.end });
        if (part.end < scanned.tar.size) continue;
        const plain = { fd: output.number, offset: 0, size };
        const blob = this.#finish(changed[layer]!, view, plain);
        blob.catch(() => {}); // awaited below, when the others are on their way
        made.push(blob);
        output = undefined;
      }
      return await Promise.all(made);
    } finally {
      await Promise.allSettled(made);
    }
  }

  /** Packs a layer's operations, and checks them by applying them. */
  async #finish(layer: ChangedLayer, view: OldView, plain: Stretch): Promise<MadeBlob> {
    const output = this.#scratch();
    const pack: PackDiffTask = { plain, output: output.number };
    const packed = await this.#pool.run<PackedDiff>("pack-diff", pack);
    const { blob, descriptor, diffId } = layer;
    const id = diffId.toString();
    if (blob.original && blob.blob.size <= packed.size) {
      this.#progress({ type: "done", id, transferred: blob.blob.size });
      const mediaType = originalType(descriptor.mediaType, blob.blob);
      return { from: blob.blob, digest: descriptor.digest, mediaType };
    }
    const diff = { fd: output.number, offset: 0, size: packed.size };
    const { sources, places } = view;
    const check: CheckDiffTask = { diff, sources, places, diffId: id };
    await this.#pool.run("check-diff", check);
    this.#progress({ type: "done", id, transferred: packed.size });
    return { from: diff, digest: Digest.parse(packed.digest), mediaType: TAR_DIFF_TYPE };
  }

  async #publish(
    changed: readonly ChangedLayer[],
    made: readonly MadeBlob[],
    known: ReadonlySet<string>,
  ): Promise<DeltaCreateResult> {
    const destination = this.#destination;
    const { config, manifest, descriptor, manifestBytes, configBytes } = this.#fresh;
    await destination.document(manifestBytes, descriptor.digest);
    await destination.document(configBytes, manifest.config.digest);
    const blobs = new Map<string, MadeBlob>();
    for (const [i, { diffId }] of changed.entries()) {
      const blob = made[i]!;
      blobs.set(diffId.toString(), blob);
      await this.#store(blob);
    }
    await destination.document(EMPTY_CONFIG, sha256(EMPTY_CONFIG));
    const layers = new Map<string, DeltaBlob>();
    const reused = new Map<string, { digest: Digest; diffId: Digest }>();
    for (const [i, diffId] of config.diffIds.entries()) {
      const { digest } = manifest.layers[i]!;
      if (known.has(diffId.toString())) {
        reused.set(digest.toString(), { digest, diffId });
        continue;
      }
      const { from, digest: blob, mediaType } = blobs.get(diffId.toString())!;
      layers.set(digest.toString(), { mediaType, digest: blob, size: from.size, to: digest });
    }
    const artifact = deltaManifest({
      artifactType: this.#options.artifactType ?? DELTA_TYPE,
      source: this.#old.descriptor.digest,
      sourceConfig: this.#old.manifest.config.digest,
      target: descriptor,
      config: manifest.config,
      layers: [...layers.values()],
      reused: [...reused.values()],
    });
    this.#options.signal?.throwIfAborted();
    await destination.finish(artifact);
    const created = changed.map((layer, i): CreatedLayer => ({
      diffId: layer.diffId,
      layer: layer.descriptor.digest,
      layerSize: layer.descriptor.size,
      blob: made[i]!.digest,
      mediaType: made[i]!.mediaType,
      size: made[i]!.from.size,
    }));
    return {
      manifestDigest: artifact.descriptor.digest,
      target: descriptor.digest,
      source: this.#old.descriptor.digest,
      layers: created,
      reused: reused.size,
      size: created.reduce((sum, { size }) => sum + size, 0),
      layerSize: created.reduce((sum, { layerSize }) => sum + layerSize, 0),
    };
  }

  /** Puts a blob into the destination, unless it is there. */
  async #store({ from, digest }: MadeBlob): Promise<void> {
    const known = { digest, size: from.size };
    if (await this.#destination.has(known)) return;
    using slot = this.#destination.reserve(known);
    const piece = new Uint8Array(PIECE);
    for (let done = 0; done < from.size;) {
      const wanted = Math.min(PIECE, from.size - done);
      const got = preadFull(from.fd, piece.subarray(0, wanted), from.offset + done);
      if (got !== wanted) throw new FormatError("blob", "A file changed while it was read");
      pwriteAll(slot.fd, piece.subarray(0, got), slot.offset + done);
      done += got;
    }
    await this.#destination.commit(slot, known);
  }
}

/** Positions of the digests that did not come before. */
function firstOf(digests: readonly Digest[]): number[] {
  const seen = new Set<string>();
  const numbers: number[] = [];
  for (const [i, digest] of digests.entries()) {
    const key = digest.toString();
    if (!seen.has(key)) numbers.push(i);
    seen.add(key);
  }
  return numbers;
}

/** Does something for all items, a few at a time; results in order. */
async function mapLanes<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const lane = async () => {
    while (next < items.length && failures.length === 0) {
      const i = next++;
      try {
        results[i] = await work(items[i]!);
      } catch (error) {
        failures.push(error); // thrown when the others have come to their end
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  if (failures.length > 0) throw failures[0];
  return results;
}

/** Gathers pieces, which may be tiny, and appends them. */
function appendPieces(file: Fd, pieces: readonly Uint8Array[], at: number): number {
  const room = new Uint8Array(PIECE);
  let used = 0;
  const flush = () => {
    if (used > 0) pwriteAll(file, room.subarray(0, used), at);
    at += used;
    used = 0;
  };
  for (const piece of pieces) {
    if (piece.length > PIECE - used) flush();
    room.set(piece, used);
    used += piece.length;
  }
  flush();
  return at;
}

/** Media type of a layer that goes as it is: appliers go by it, so it has to be true. */
function originalType(announced: string, blob: Stretch): string {
  const head = new Uint8Array(4096).subarray(0, Math.min(4, blob.size));
  preadFull(blob.fd, head, blob.offset);
  const actual = sniffCompression(head);
  const isOci = announced.startsWith("application/vnd.oci.");
  return isOci && tarCompression(announced) === actual ? announced : LAYER_TYPES[actual];
}
