/** Pushing images out of a repository (spec: oci 4, 6). */
import {
  ConflictError,
  Digest,
  nodeHash,
  type ObjectId,
  Pool,
  type ProgressSink,
  type TaskContext,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import {
  type Compression,
  type Descriptor,
  type ImageDestination,
  isSignatureLayer,
  MANIFEST_TYPE,
  openDestination,
  type PushedManifest,
  type RegistryAccess,
  tarCompression,
} from "../transport/mod.ts";
import { layerObject, listReferrers, type OciImage, openImageRef, openManifest } from "./image.ts";
import { checkLevel, type PackedBlob, type Packing, packLayer, type PackTask } from "./pack.ts";
import {
  formatOf,
  layerType,
  type ManifestFormat,
  type PackedLayer,
  repackedManifest,
} from "./repack.ts";
import { listTags } from "./tags.ts";

/** How to push. */
export interface PushOptions {
  /** How layers are packed. @default as they were when they were pulled */
  compress?: Compression;
  /** Level of compression. @default 6 of gzip, 3 of zstd */
  level?: number;
  /** Kind of manifest. @default that of the stored one */
  format?: ManifestFormat;
  /** How a registry is talked to. */
  access?: RegistryAccess;
  /**
   * Repositories of the destination's registry that may have the layers already. Those that the
   * image was pulled from are tried anyway.
   */
  mountFrom?: readonly string[];
  /** Push the artifacts that refer to the image, too. @default false */
  referrers?: boolean;
  /** Layers that are packed at a time. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how far it is, per layer, and about warnings. */
  progress?: ProgressSink;
}

/** What a push came to. */
export interface PushResult {
  /** Digest of the manifest that the destination has now. */
  readonly manifestDigest: Digest;
  /** Digest of the stored manifest: the same one when all layers could be packed as they were. */
  readonly sourceDigest: Digest;
  /** Digest of the config. */
  readonly configDigest: Digest;
  /** Digests of the referrers that went along. */
  readonly referrers: readonly Digest[];
  /** Counters. */
  readonly stats: PushStats;
}

/** Counters of a push. */
export interface PushStats {
  /** Blobs that were written or sent. */
  blobsWritten: number;
  /** Their bytes. */
  bytesWritten: number;
  /** Blobs that the destination had. */
  blobsPresent: number;
}

/** Below this many bytes of layers in all, starting a worker takes longer than the work. */
const WORTH_WORKERS = 8 * 1024 * 1024;

/**
 * Pushes an image. Layers are made again byte by byte and checked against their digests while they
 * are packed; the manifest comes last. Where the packed layers of the stored manifest cannot be made
 * again, the image gets a new manifest with the same config.
 *
 * @param image an opened image, or its tag, or its manifest digest as `@sha256:…`
 * @param options.destination `oci:PATH[:TAG]`, `oci-archive:PATH[:TAG]`, `dir:PATH` or `docker://…`
 * @throws {NotFoundError} when there is no such image
 * @throws {DigestMismatchError} when a stored layer is damaged; as a cause
 */
export async function pushImage(
  repository: Repository,
  image: OciImage | string,
  options: PushOptions & { destination: string },
): Promise<PushResult> {
  const opened = typeof image === "string" ? openImageRef(repository, image) : image;
  const { signal } = options;
  const stop = new AbortController();
  const given = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  await using destination = await openDestination(options.destination, {
    ...options.access,
    signal: given,
    mountFrom: [...options.mountFrom ?? [], ...origins(repository, opened)],
  });
  try {
    await using push = new Push(repository, { destination, stop, given }, options);
    return await push.run(opened);
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw withContext(
      `Unable to push ${
        typeof image === "string" ? image : image.manifestDigest
      } to ${options.destination}`,
      cause,
    );
  }
}

/** Repositories of registries that the image was pulled from, as its tags tell. */
function origins(repository: Repository, { manifestDigest }: OciImage): string[] {
  return listTags(repository)
    .filter(({ manifest, name }) => manifest.equals(manifestDigest) && name.startsWith(DOCKER))
    .map(({ name }) => name.slice(DOCKER.length));
}

const DOCKER = "docker://";

/** A layer on its way: what it is, and how it is going to be packed. */
interface Outgoing {
  readonly id: Digest;
  readonly descriptor: Descriptor;
  readonly stream: ObjectId;
  /** Digest of the stored content; `undefined` when only the packed one is known. */
  readonly content: Digest | undefined;
  /** Size of the stored content in bytes. */
  readonly size: number;
  readonly packing: Packing;
  /** Whether the blob that the manifest names is an acceptable outcome. */
  readonly keep: boolean;
  readonly mediaType: string;
}

/** One push. */
class Push implements AsyncDisposable {
  readonly #repository: Repository;
  readonly #destination: ImageDestination;
  readonly #options: PushOptions;
  readonly #progress: ProgressSink;
  /** Ends everything that is under way. */
  readonly #stop: AbortController;
  readonly #signal: AbortSignal;
  readonly #stats: PushStats = { blobsWritten: 0, bytesWritten: 0, blobsPresent: 0 };
  #pool: Pool | undefined;

  constructor(
    repository: Repository,
    to: { destination: ImageDestination; stop: AbortController; given: AbortSignal },
    options: PushOptions,
  ) {
    this.#repository = repository;
    this.#destination = to.destination;
    this.#stop = to.stop;
    this.#signal = to.given;
    this.#options = options;
    this.#progress = options.progress ?? (() => {});
  }

  async run(image: OciImage): Promise<PushResult> {
    const format = this.#options.format ?? formatOf(image.manifest);
    const pushed = await this.#image(image, format);
    const referrers: Digest[] = [];
    if (this.#options.referrers) {
      const kept = pushed.descriptor.digest.equals(image.manifestDigest);
      for (const digest of listReferrers(this.#repository, image.manifestDigest)) {
        if (!kept) {
          this.#warn(`referrer ${digest} is left out: it is about the manifest as it was`);
          continue;
        }
        if (await this.#attach(digest, image.manifestDigest)) referrers.push(digest);
      }
    }
    await this.#destination.finish(pushed);
    return {
      manifestDigest: pushed.descriptor.digest,
      sourceDigest: image.manifestDigest,
      configDigest: image.configDigest,
      referrers,
      stats: this.#stats,
    };
  }

  /** Pushes what refers to an image; whether it could be. */
  async #attach(digest: Digest, subject: Digest): Promise<boolean> {
    const referrer = openManifest(this.#repository, digest);
    const manifest = await this.#image(referrer, "oci");
    const { layers } = referrer.manifest;
    // Cosign's first kind does not say what it is about: it is found by its tag.
    const byTag = manifest.subject === undefined &&
      layers.some(({ mediaType }) => isSignatureLayer(mediaType));
    const { signatureTag } = await import("../trust/mod.ts");
    try {
      await this.#destination.attach(
        byTag ? { ...manifest, tag: signatureTag(subject) } : manifest,
      );
      return true;
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      this.#warn(`referrer ${digest} is left out: ${error.message}`);
      return false;
    }
  }

  /** Brings the blobs of an image to the destination. */
  async #image(image: OciImage, format: ManifestFormat): Promise<PushedManifest> {
    const outgoing = image.manifest.layers.map((descriptor, i) =>
      this.#outgoing(image, { descriptor, id: image.layerIds[i]!, format })
    );
    const layers = await this.#layers(outgoing);
    await this.#destination.document(image.configStream.bytes, image.configDigest);
    const { manifest, manifestDigest } = image;
    const { artifactType, subject } = manifest;
    const more = {
      ...(artifactType ? { artifactType } : {}),
      ...(subject ? { subject: subject.digest } : {}),
    };
    if (layers.every(({ kept }) => kept) && format === formatOf(manifest)) {
      const { bytes } = image.manifestStream;
      const mediaType = manifest.mediaType ?? MANIFEST_TYPE;
      return {
        descriptor: { mediaType, digest: manifestDigest, size: bytes.length },
        bytes,
        ...more,
      };
    }
    const { mediaType, bytes } = repackedManifest(image.manifestStream.bytes, layers, format);
    const digest = Digest.sha256(hashOf(bytes));
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes, ...more };
  }

  #outgoing(
    image: OciImage,
    layer: { descriptor: Descriptor; id: Digest; format: ManifestFormat },
  ): Outgoing {
    const { descriptor, id, format } = layer;
    const stream = layerObject(image, id);
    const stored = this.#repository.openStreamObject(stream);
    const size = Number(stored.streamSize);
    const was = tarCompression(descriptor.mediaType);
    const common = { id, descriptor, stream, size };
    if (stored.contentType === CONTENT_TYPE.ociBlob || was === undefined) {
      // Kept as it came: there is nothing to pack.
      return {
        ...common,
        content: descriptor.digest,
        packing: { compression: "none", level: undefined },
        keep: true,
        mediaType: descriptor.mediaType,
      };
    }
    const asked = this.#options.compress;
    // Docker's registries and programs know no zstd in their own kind of manifest.
    const compression = asked ?? (format === "v2s2" && was === "zstd" ? "gzip" : was);
    const packing = { compression, level: this.#options.level };
    checkLevel(packing);
    if (format === "v2s2" && compression === "zstd") {
      throw new UnsupportedError("Docker schema 2 images cannot have zstd layers");
    }
    const same = compression === was;
    const mediaType = same && format === formatOf(image.manifest)
      ? descriptor.mediaType
      : layerType(descriptor.mediaType, compression, format);
    const artifact = image.config === undefined;
    const content = artifact && was !== "none" ? undefined : id;
    const keep = same && this.#options.level === undefined;
    return { ...common, content, packing, keep, mediaType };
  }

  /** Brings layers to the destination, each once; the result is in their order. */
  async #layers(outgoing: readonly Outgoing[]): Promise<PackedLayer[]> {
    const layers = new Map<string, Outgoing>();
    for (const layer of outgoing) {
      if (!layers.has(keyOf(layer))) layers.set(keyOf(layer), layer);
    }
    const packed = new Map<string, PackedLayer>();
    const missing: Outgoing[] = [];
    for (const [key, layer] of layers) {
      const there = await this.#present(layer);
      if (there === undefined) missing.push(layer);
      else packed.set(key, there);
    }
    const known = missing.flatMap((layer) => knownBlob(layer) ?? []);
    this.#destination.expect?.(known);
    // Archives are the same each time: whoever is ready first waits for those before him.
    let before = Promise.resolve();
    const work = missing.map((layer) => {
      const task = { layer, turn: before, done: () => {} };
      before = new Promise((resolve) => task.done = resolve);
      return task;
    });
    const failures: unknown[] = [];
    const lane = async () => {
      for (let next = work.shift(); next !== undefined; next = work.shift()) {
        try {
          packed.set(keyOf(next.layer), await this.#pack(next.layer, next.turn));
        } catch (cause) {
          // The others are of no use any more; what they say then is only that they were stopped.
          failures.push(withContext(`Pushing layer ${next.layer.id}`, cause));
          work.length = 0;
          this.#stop.abort();
        } finally {
          next.done();
        }
      }
    };
    const jobs = this.#start(missing);
    await Promise.all(Array.from({ length: jobs }, lane));
    if (failures.length > 0) throw failures[0];
    return outgoing.map((layer) => packed.get(keyOf(layer))!);
  }

  /** The layer as the destination has it already; `undefined` when it has to be packed. */
  async #present(layer: Outgoing): Promise<PackedLayer | undefined> {
    const blob = layer.keep ? layer.descriptor : knownBlob(layer);
    if (blob === undefined || !await this.#destination.has(blob)) return undefined;
    this.#stats.blobsPresent++;
    this.#progress({ type: "skipped", id: layer.id.toString() });
    return packedLayer(layer, blob);
  }

  /** Starts workers where they pay; returns how many layers are worked on at a time. */
  #start(layers: readonly Outgoing[]): number {
    const jobs = Math.min(this.#options.jobs ?? navigator.hardwareConcurrency, layers.length);
    const total = layers.reduce((sum, { size }) => sum + size, 0);
    if (jobs < 1 || total < WORTH_WORKERS) return Math.min(1, layers.length);
    this.#pool ??= new Pool(new URL("./export_worker.ts", import.meta.url), { size: jobs });
    return this.#destination.remote ? Math.min(2 * jobs, layers.length) : jobs;
  }

  async #pack(layer: Outgoing, turn: Promise<void>): Promise<PackedLayer> {
    const id = layer.id.toString();
    this.#signal.throwIfAborted();
    const known = knownBlob(layer);
    using slot = this.#destination.reserve(known);
    this.#progress({ type: "started", id, unit: "bytes", total: layer.size });
    const { algorithm, secure, directory } = this.#repository;
    const task: PackTask = {
      store: { root: directory.number, algorithm, secure },
      stream: layer.stream,
      content: layer.content?.toString(),
      packing: layer.packing,
      output: { fd: slot.fd.number, offset: slot.offset },
    };
    const made = await this.#run(task, id);
    const blob = { digest: Digest.parse(made.digest), size: made.size };
    if (this.#destination.ordered) await turn;
    this.#signal.throwIfAborted();
    if (known === undefined && await this.#destination.has(blob)) this.#stats.blobsPresent++;
    else {
      await this.#destination.commit(slot, blob);
      this.#stats.blobsWritten++;
      this.#stats.bytesWritten += blob.size;
    }
    this.#progress({ type: "done", id, transferred: blob.size });
    return packedLayer(layer, blob);
  }

  #run(task: PackTask, id: string): Promise<PackedBlob> {
    const signal = this.#signal;
    const onEvent = (done: unknown) => this.#progress({ type: "progress", id, done: Number(done) });
    if (this.#pool !== undefined) {
      return this.#pool.run<PackedBlob>("pack-layer", task, { onEvent, signal });
    }
    const context: TaskContext = { signal, emit: onEvent, transfer: () => {} };
    return packLayer(task, context);
  }

  #warn(text: string): void {
    this.#progress({ type: "warning", text });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.close();
  }
}

/** Layers with the same key become the same blob. */
function keyOf({ id, packing, descriptor, keep }: Outgoing): string {
  return `${id} ${packing.compression} ${keep ? descriptor.digest : ""}`;
}

/** The blob that a layer becomes, when that is known without packing it. */
function knownBlob(layer: Outgoing): { digest: Digest; size: number } | undefined {
  const { packing, content, size } = layer;
  if (packing.compression !== "none" || content?.algorithm !== "sha256") return undefined;
  return { digest: content, size };
}

function packedLayer(layer: Outgoing, blob: { digest: Digest; size: number }): PackedLayer {
  const { digest, size } = blob;
  const { descriptor, mediaType } = layer;
  const kept = digest.equals(descriptor.digest) && mediaType === descriptor.mediaType;
  return { descriptor: { mediaType, digest, size }, kept };
}

function hashOf(bytes: Uint8Array): Uint8Array {
  const hash = nodeHash.stream("sha256");
  hash.update(bytes);
  return hash.digest();
}
