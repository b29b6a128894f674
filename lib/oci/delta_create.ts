/** Making a delta between two images (spec: oci 7.6). */
import { Digest, FormatError, Pool, type ProgressSink, withContext } from "../base/mod.ts";
import { type Fd, pwriteAll } from "../../ffi/mod.ts";
import {
  ContentIndex,
  type ContentIndexParts,
  DELTA_TYPE,
  divideLayer,
  type LayerPart,
  type NewFile,
  TAR_DIFF_TYPE,
  type TargetCompat,
} from "../delta/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { type GatheredSignatures, gatherSignatures } from "./delta_embed.ts";
import { type DeltaImage, type DeltaLayer, openDeltaImage } from "./delta_image.ts";
import type { CheckDiffTask, DiffTask, IndexTask, PackDiffTask, PackedDiff } from "./delta_make.ts";
import { firstOf, mapLanes, type OldView, readOldView } from "./delta_old_view.ts";
import {
  type DeltaCreateResult,
  type MadeBlob,
  originalType,
  publishDelta,
} from "./delta_publish.ts";
import type { ScannedLayer, ScanTask, Stretch } from "./delta_scan.ts";
import {
  type Descriptor,
  type ImageDestination,
  openDestination,
  openScratch,
  type Platform,
  type RegistryAccess,
  temporaryDirectory,
} from "../transport/mod.ts";

/** How a delta is made. */
export interface DeltaCreateOptions {
  /** Where it goes: `oci:PATH[:TAG]`, `oci-archive:PATH[:TAG]`, `dir:PATH` or `docker://NAME`. */
  destination: string;
  /** Opens the repository; called for images without a transport. */
  openRepository?: () => Repository;
  /** Platform to choose from indexes. @default the one this program runs on */
  platform?: Platform;
  /** Appliers that it has to work with. @default "any" */
  compat?: TargetCompat;
  /** Type of the artifact. @default the one that the reference takes */
  artifactType?: string;
  /** Take signatures of the new image along. @default true */
  signatures?: boolean;
  /** Workers. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** How registries are talked to. */
  access?: RegistryAccess;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is, per layer. */
  progress?: ProgressSink;
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
    const { access, signal } = options;
    await using destination = await openDestination(options.destination, {
      ...access,
      ...(signal === undefined ? {} : { signal }),
    });
    await using work = new AsyncDisposableStack();
    const stop = new AbortController();
    const given = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const pool = new Pool(new URL("./delta_create_worker.ts", import.meta.url), {
      size: Math.max(1, options.jobs ?? navigator.hardwareConcurrency),
      signal: given,
    });
    const open = async (reference: string) =>
      work.use(
        await openDeltaImage(reference, {
          ...access,
          signal: given,
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
    return await new Creation({ old, fresh, pool, files, destination, stop }, options).run();
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
  /** Ends everything that is under way. */
  readonly stop: AbortController;
}

/** A layer that goes into the delta. */
interface ChangedLayer {
  readonly diffId: Digest;
  readonly descriptor: Descriptor;
  readonly blob: DeltaLayer;
  readonly scanned: ScannedLayer;
  readonly files: readonly NewFile[];
}

const PIECE = 2 ** 20;
/** One delta in the making. */
class Creation {
  readonly #old: DeltaImage;
  readonly #fresh: DeltaImage;
  readonly #pool: Pool;
  readonly #files: DisposableStack;
  readonly #destination: ImageDestination;
  readonly #stop: AbortController;
  readonly #options: DeltaCreateOptions;
  readonly #progress: ProgressSink;

  constructor(
    { old, fresh, pool, files, destination, stop }: Creating,
    options: DeltaCreateOptions,
  ) {
    this.#old = old;
    this.#fresh = fresh;
    this.#pool = pool;
    this.#files = files;
    this.#destination = destination;
    this.#stop = stop;
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
    const view = await readOldView(numbers.length === 0 ? [] : this.#old.config.diffIds, {
      compat: this.#options.compat ?? "any",
      scan: async (number) => (await this.#scan(this.#old, number)).scanned,
    });
    const changed = await mapLanes(numbers, (number) => this.#changed(number, view));
    const index = await this.#index(view, changed);
    const made = await this.#diff(changed, view, index);
    const signatures = await this.#signatures();
    return await publishDelta({
      old: this.#old,
      fresh: this.#fresh,
      destination: this.#destination,
    }, {
      made,
      signatures,
      artifactType: this.#options.artifactType ?? DELTA_TYPE,
      signal: this.#options.signal,
    });
  }

  /** Signatures of the new image that go along. */
  async #signatures(): Promise<GatheredSignatures[]> {
    if (this.#options.signatures === false) return [];
    const attachments = await this.#fresh.attachments();
    if (attachments === undefined) return [];
    const warn = (text: string) => this.#progress({ type: "warning", text });
    return await gatherSignatures(attachments, this.#fresh.descriptor.digest, warn);
  }

  /** A temporary file that lives as long as the work. */
  #scratch(): Fd {
    return this.#files.use(openScratch(temporaryDirectory()));
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
      // The others are of no use any more, and may be long in coming.
      this.#stop.abort();
      throw withContext(`Reading layer ${diffId}`, cause);
    }
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
      return { diffId, layer: descriptor, from: blob.blob, digest: descriptor.digest, mediaType };
    }
    const diff = { fd: output.number, offset: 0, size: packed.size };
    const { sources, places } = view;
    const check: CheckDiffTask = { diff, sources, places, diffId: id };
    await this.#pool.run("check-diff", check);
    this.#progress({ type: "done", id, transferred: packed.size });
    const digest = Digest.parse(packed.digest);
    return { diffId, layer: descriptor, from: diff, digest, mediaType: TAR_DIFF_TYPE };
  }
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
