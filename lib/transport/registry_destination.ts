/** Pushing to a registry (spec: oci 6). */
import { ComposefsError, ConflictError, type Digest, InvalidNameError } from "../base/mod.ts";
import { preadFull } from "../../ffi/mod.ts";
import {
  type DockerReference,
  formatDockerReference,
  parseDockerReference,
  RegistryClient,
  type RegistryClientOptions,
  type RemoteRepository,
} from "../registry/mod.ts";
import {
  type BlobSlot,
  type ImageDestination,
  type PushedManifest,
  ScratchSlot,
} from "./destination.ts";
import type { Descriptor } from "./documents.ts";
import { temporaryDirectory } from "./scratch.ts";

/** How a registry is pushed to; only `signal` matters to other destinations. */
export interface RegistryDestinationOptions extends Omit<RegistryClientOptions, "signal"> {
  /** Gives up everything when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Other images, with or without registry, whose repositories may have the layers. */
  readonly mountFrom?: readonly string[] | undefined;
}

/** Bytes of buffers that the system cannot be given. */
const SMALL = 64;

/** Thrown out of an upload that should only have been a mount. */
class NotMounted extends Error {
  override name = "NotMounted";
}

class RegistryDestination implements ImageDestination {
  readonly name: string;
  readonly ordered = false;
  readonly remote = true;
  readonly #reference: DockerReference;
  readonly #client: RegistryClient;
  readonly #remote: RemoteRepository;
  readonly #signal: AbortSignal | undefined;
  readonly #mountFrom: readonly string[];
  readonly #small = new Uint8Array(4096);
  readonly #scratch = temporaryDirectory();

  constructor(
    reference: DockerReference,
    registry: { client: RegistryClient; remote: RemoteRepository },
    options: RegistryDestinationOptions,
  ) {
    this.name = formatDockerReference(reference);
    this.#reference = reference;
    this.#client = registry.client;
    this.#remote = registry.remote;
    this.#signal = options.signal;
    this.#mountFrom = mountable(reference, options.mountFrom ?? []);
  }

  #options(): { signal?: AbortSignal } {
    return this.#signal === undefined ? {} : { signal: this.#signal };
  }

  async has(blob: Pick<Descriptor, "digest" | "size">): Promise<boolean> {
    const { digest, size } = blob;
    if (await this.#remote.blobSize(digest) === size) return true;
    if (this.#mountFrom.length === 0) return false;
    try {
      const read = () => {
        throw new NotMounted();
      };
      const options = { ...this.#options(), mountFrom: this.#mountFrom };
      await this.#remote.upload({ digest, size }, { read }, options);
      return true;
    } catch (error) {
      if (wasNotMounted(error)) return false;
      throw error;
    }
  }

  reserve(): BlobSlot {
    return new ScratchSlot(this.#scratch);
  }

  async commit(slot: BlobSlot, blob: { digest: Digest; size: number }): Promise<void> {
    const read = (offset: number, buffer: Uint8Array) => {
      // V8 moves buffers of up to 64 bytes, so their address cannot be taken.
      if (buffer.buffer.byteLength > SMALL) return preadFull(slot.fd, buffer, offset);
      const got = preadFull(slot.fd, this.#small.subarray(0, buffer.length), offset);
      buffer.set(this.#small.subarray(0, got));
      return got;
    };
    await this.#remote.upload(blob, { read }, this.#options());
  }

  async document(bytes: Uint8Array, digest: Digest): Promise<void> {
    const read = (offset: number, buffer: Uint8Array) => {
      const piece = bytes.subarray(offset, offset + buffer.length);
      buffer.set(piece);
      return piece.length;
    };
    await this.#remote.upload({ digest, size: bytes.length }, { read }, this.#options());
  }

  async attach(manifest: PushedManifest): Promise<void> {
    const { tag, descriptor: { digest } } = manifest;
    if (tag !== undefined) {
      const there = await this.#remote.manifestHead(tag, this.#options());
      if (there !== undefined && there.digest?.toString() !== digest.toString()) {
        throw new ConflictError(`Tag ${tag} leads to another manifest already`);
      }
    }
    await this.#put(manifest, tag ?? digest);
  }

  async finish(manifest: PushedManifest): Promise<void> {
    await this.#put(manifest, this.#reference.tag ?? "latest");
  }

  async #put(manifest: PushedManifest, name: Digest | string): Promise<void> {
    const { descriptor, subject } = manifest;
    const bytes = Uint8Array.from(manifest.bytes);
    const { mediaType, digest, size } = descriptor;
    const { listed } = await this.#remote.putManifest({ bytes, mediaType }, name, this.#options());
    if (subject === undefined || listed) return;
    await this.#remote.addReferrer(subject, {
      mediaType,
      digest,
      size,
      artifactType: manifest.artifactType ?? "",
      annotations: {},
    }, this.#options());
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
    return Promise.resolve();
  }
}

/** Paths of repositories of the same registry; names that are none of a registry are left out. */
function mountable(reference: DockerReference, names: readonly string[]): string[] {
  const paths = new Set<string>();
  for (const name of names) {
    try {
      const { domain, path } = parseDockerReference(name);
      if (domain === reference.domain) paths.add(path);
    } catch (error) {
      // A tag that looks like a reference and is none, for example.
      if (!(error instanceof ComposefsError)) throw error;
    }
  }
  paths.delete(reference.path);
  return [...paths];
}

function wasNotMounted(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at.name === NotMounted.name) return true;
  }
  return false;
}

/**
 * Opens a repository of a registry to push to.
 *
 * @param reference `[HOST[:PORT]/]REPO[:TAG]`
 * @throws {InvalidNameError} for a reference with a digest, which cannot be chosen
 */
export async function openRegistryDestination(
  reference: string,
  options: RegistryDestinationOptions = {},
): Promise<ImageDestination> {
  const parsed = parseDockerReference(reference);
  if (parsed.digest !== undefined) {
    throw new InvalidNameError(`Cannot push to ${reference}: only a tag can follow the name`);
  }
  const { mountFrom: _, ...access } = options;
  const client = new RegistryClient(access);
  try {
    const remote = await client.target(parsed);
    return new RegistryDestination(parsed, { client, remote }, options);
  } catch (error) {
    client[Symbol.dispose]();
    throw error;
  }
}
