/** `docker://` images, straight from registries (spec: oci 6). */
import { ComposefsError, type Digest, FormatError, withContext } from "../base/mod.ts";
import { memfd, pwriteAll, writeAll } from "../../ffi/mod.ts";
import {
  type DockerReference,
  formatDockerReference,
  parseDockerReference,
  RegistryClient,
  type RegistryClientOptions,
  type RemoteRepository,
  wanted,
} from "../registry/mod.ts";
import {
  type DownloadFile,
  type Downloads,
  type Repository,
  SpaceWatch,
} from "../repository/mod.ts";
import type { SignaturePlaces } from "../trust/mod.ts";
import { Arrival } from "./arrival.ts";
import { type Blob, checkBlobSize, checkDocumentSize, digestHash, verifyBytes } from "./blob.ts";
import { toOci } from "./convert.ts";
import { type Descriptor, documentType, parseIndex, type Platform } from "./documents.ts";
import { isIndexType, isManifestType } from "./media_types.ts";
import { parseTypedManifest, selectManifest } from "./select.ts";
import { openTemporary } from "./scratch.ts";
import type { BlobOptions, ByteRange, ImageSource, RangeSink, SelectedManifest } from "./source.ts";

/** The empty JSON object, which needs no fetching. */
const EMPTY = {
  digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
  bytes: new TextEncoder().encode("{}"),
};

/** How a registry is read. */
export interface RegistrySourceOptions extends Omit<RegistryClientOptions, "signal"> {
  /** Gives up everything when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Repository that keeps unfinished downloads. @default none: blobs go to temporary files */
  readonly repository?: Repository | undefined;
}

/** An image in a registry. */
export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly transport = "docker";
  readonly remote = true;
  readonly #reference: DockerReference;
  readonly #client: RegistryClient;
  readonly #options: RegistrySourceOptions;
  readonly #blobs = new Set<RegistryBlob>();
  /** Where to ask for blobs that were wrong where they came from, by digest. */
  readonly #elsewhere = new Map<string, RemoteRepository>();
  #opened: Promise<RemoteRepository> | undefined;
  #downloads: Downloads | undefined;

  /**
   * Nobody is asked yet.
   *
   * @param reference `[HOST[:PORT]/]REPO[:TAG][@DIGEST]`
   * @throws {InvalidNameError} for anything else
   */
  constructor(reference: string, options: RegistrySourceOptions = {}) {
    this.#reference = parseDockerReference(reference);
    this.name = formatDockerReference(this.#reference);
    this.#options = options;
    const { repository: _, ...client } = options;
    this.#client = new RegistryClient(client);
  }

  /** The name of the image, for policies about names. */
  get reference(): DockerReference {
    return this.#reference;
  }

  /** The repository in the registry, for what is beside the image. */
  remoteRepository(): Promise<RemoteRepository> {
    return this.#opened ??= this.#client.repository(this.#reference, this.#fetch());
  }

  #fetch(options: BlobOptions = {}): { signal?: AbortSignal } {
    const signal = options.signal ?? this.#options.signal;
    return signal === undefined ? {} : { signal };
  }

  async resolve(options: { platform: Platform }): Promise<SelectedManifest> {
    const remote = await this.remoteRepository();
    const { bytes, mediaType: announced, digest } = await remote.manifest(
      wanted(this.#reference),
      this.#fetch(),
    );
    const mediaType = documentType(bytes, announced);
    const descriptor = { mediaType, digest, size: bytes.length };
    if (isIndexType(mediaType)) {
      return toOci(
        await selectManifest((one, what) => this.document(one, what), {
          name: this.name,
          entries: parseIndex(bytes).manifests,
          meant: false,
          index: { descriptor, bytes },
          platform: options.platform,
        }),
      );
    }
    if (!isManifestType(mediaType)) {
      throw new FormatError("image manifest", `Unexpected media type ${mediaType}`);
    }
    return toOci({ descriptor, bytes, manifest: parseTypedManifest(bytes) });
  }

  async document(descriptor: Descriptor, what: string): Promise<Uint8Array<ArrayBuffer>> {
    checkDocumentSize(descriptor, what);
    digestHash(descriptor.digest);
    const here = inlineBytes(descriptor);
    if (here !== undefined) return here;
    const remote = await this.remoteRepository();
    if (isIndexType(descriptor.mediaType) || isManifestType(descriptor.mediaType)) {
      const { bytes } = await remote.manifest(descriptor.digest, this.#fetch());
      checkBlobSize(descriptor, bytes.length);
      return bytes;
    }
    return await remote.blobBytes(descriptor, this.#fetch());
  }

  async blob(descriptor: Descriptor, options: BlobOptions = {}): Promise<Blob> {
    digestHash(descriptor.digest);
    const here = inlineBytes(descriptor);
    if (here !== undefined) return memoryBlob(here);
    const { digest } = descriptor;
    const remote = this.#elsewhere.get(digest.toString()) ?? await this.remoteRepository();
    const blob = new RegistryBlob(descriptor, this.#file(descriptor), {
      closed: () => this.#blobs.delete(blob),
      distrust: () => this.#distrust(digest, remote),
    });
    this.#blobs.add(blob);
    blob.begin(remote, this.#fetch(options));
    return blob;
  }

  /** Remembers to ask the next place for a blob; whether there is one. */
  async #distrust(digest: Digest, from: RemoteRepository): Promise<boolean> {
    let next: RemoteRepository | undefined;
    try {
      next = await from.elsewhere();
    } catch (error) {
      // That there is nothing better to be had is told by what is wrong with the blob.
      if (!(error instanceof ComposefsError)) throw error;
    }
    if (next === undefined) return false;
    this.#elsewhere.set(digest.toString(), next);
    return true;
  }

  held({ digest, size }: Descriptor): number {
    const held = this.#options.repository?.heldDownload(fileName(digest)) ?? 0;
    return held > size ? 0 : held;
  }

  async ranges(
    descriptor: Descriptor,
    ranges: readonly ByteRange[],
    options: BlobOptions & { sink: RangeSink },
  ): Promise<boolean> {
    digestHash(descriptor.digest);
    const remote = await this.remoteRepository();
    const wanted = ranges.map(({ offset, size }) => ({ start: offset, end: offset + size }));
    const write = (offset: number, piece: Uint8Array) => {
      // Ranges come in any order, but mostly there are few.
      const at = ranges.findLastIndex((range) => range.offset <= offset);
      options.sink(ranges[at]!, piece);
    };
    const given = { ...this.#fetch(options), sink: { write } };
    return await remote.ranges(descriptor, wanted, given) === "parts";
  }

  /** A file that the blob can go to. */
  #file({ digest, size }: Descriptor): BlobFile {
    const { repository } = this.#options;
    if (repository === undefined) return new TemporaryBlobFile();
    this.#downloads ??= repository.openDownloads();
    return this.#downloads.open(fileName(digest), size);
  }

  async referrers(digest: Digest, artifactType?: string): Promise<Descriptor[]> {
    const remote = await this.remoteRepository();
    return await remote.referrers(digest, {
      ...this.#fetch(),
      ...(artifactType === undefined ? {} : { artifactType }),
    });
  }

  async signaturePlaces(): Promise<SignaturePlaces> {
    const { DockerName, registryAttachments } = await import("../trust/mod.ts");
    const remote = await this.remoteRepository();
    return {
      physicalName: new DockerName(remote.physical),
      attachments: registryAttachments(remote),
    };
  }

  // deno-lint-ignore require-await -- what is under way is given up, not waited for
  async [Symbol.asyncDispose](): Promise<void> {
    for (const blob of [...this.#blobs]) blob[Symbol.dispose]();
    this.#downloads?.[Symbol.dispose]();
    this.#client[Symbol.dispose]();
  }
}

function fileName(digest: Digest): string {
  return `${digest.algorithm}-${digest.encoded}`;
}

/** Where a blob is written to while it arrives. */
type BlobFile = Pick<DownloadFile, "fd" | "start" | "remove"> & Disposable;

/** A file for those who have no repository; layers are too large for memory. */
class TemporaryBlobFile implements BlobFile {
  readonly fd = openTemporary();
  readonly start = 0;

  remove(): void {}

  [Symbol.dispose](): void {
    this.fd.close();
  }
}

/** Who wants to know what becomes of a blob. */
interface BlobOwner {
  /** It is not used any more. */
  closed(): void;
  /** Its content is wrong; whether there is somewhere else to ask. */
  distrust(): Promise<boolean>;
}

/** A blob on its way into a file. */
class RegistryBlob implements Blob {
  readonly offset = 0;
  readonly size: number;
  readonly resumed: boolean;
  readonly arrival: Arrival;
  readonly #descriptor: Descriptor;
  readonly #file: BlobFile;
  readonly #told: BlobOwner;
  readonly #stop = new AbortController();
  #at: number;
  #open = true;
  #space: SpaceWatch | undefined;

  constructor(descriptor: Descriptor, file: BlobFile, told: BlobOwner) {
    this.#descriptor = descriptor;
    this.#file = file;
    this.#told = told;
    this.size = descriptor.size;
    this.resumed = file.start > 0;
    this.arrival = new Arrival(descriptor.size);
    this.#at = file.start;
    if (file.start > 0) this.arrival.advance(file.start);
  }

  get fd(): BlobFile["fd"] {
    return this.#file.fd;
  }

  /** Starts the download; it goes on by itself, and how it goes is told by the arrival. */
  begin(remote: RemoteRepository, options: { signal?: AbortSignal }): void {
    if (this.#at === this.size) return;
    const { signal } = options;
    const own = this.#stop.signal;
    remote.blob(this.#descriptor, { write: (piece) => this.#write(piece) }, {
      start: this.#at,
      signal: signal === undefined ? own : AbortSignal.any([signal, own]),
    }).catch((error) => this.arrival.fail(error));
  }

  #write(piece: Uint8Array): void {
    // Small pieces may lie where the engine moves them.
    const bytes = piece.length < SAFE_PIECE ? copied(piece) : piece;
    if (!this.#open) throw new FormatError("blob", "The blob was closed while it arrived");
    if (this.size > SpaceWatch.STEP) this.#checkSpace(this.#at + piece.length);
    pwriteAll(this.#file.fd, bytes, this.#at);
    this.#at += piece.length;
    this.arrival.advance(piece.length);
  }

  /** Keeps nothing of what leaves others no space. */
  #checkSpace(size: number): void {
    try {
      this.#space ??= new SpaceWatch(this.#file.fd.number);
      this.#space.check(size);
    } catch (error) {
      this.#file.remove();
      throw error;
    }
  }

  release(): void {
    this.#file.remove();
  }

  distrust(): Promise<boolean> {
    return this.#told.distrust();
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    const reason = new DOMException("The blob is not wanted any more", "AbortError");
    this.arrival.fail(reason);
    this.#stop.abort(reason);
    this.#file[Symbol.dispose]();
    this.#told.closed();
  }
}

const SAFE_PIECE = 4096;
const small = new Uint8Array(new ArrayBuffer(SAFE_PIECE));

function copied(piece: Uint8Array): Uint8Array {
  small.set(piece);
  return small.subarray(0, piece.length);
}

function memoryBlob(bytes: Uint8Array): Blob {
  const fd = memfd("blob");
  writeAll(fd, bytes);
  return { fd, offset: 0, size: bytes.length, [Symbol.dispose]: () => fd.close() };
}

/** A blob that is in its descriptor, verified. */
function inlineBytes(descriptor: Descriptor): Uint8Array<ArrayBuffer> | undefined {
  const { data, digest } = descriptor;
  if (digest.toString() === EMPTY.digest && descriptor.size === EMPTY.bytes.length) {
    return EMPTY.bytes.slice();
  }
  if (!data) return undefined;
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Uint8Array.fromBase64(data);
  } catch (cause) {
    throw withContext(`Data of descriptor ${digest} is not base64`, cause);
  }
  checkBlobSize(descriptor, bytes.length);
  verifyBytes(bytes, digest, "blob");
  return bytes;
}
