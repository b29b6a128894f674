/** Reading a repository of a registry (spec: oci 6). */
import { Digest, DigestMismatchError, FormatError } from "../base/mod.ts";
import type { HttpClient } from "../http/mod.ts";
import type { RegistryAuth } from "./auth.ts";
import { BlobDownload, type BlobRef, type BlobSink, foreignUrls } from "./blob.ts";
import { RegistryError } from "./error.ts";
import type { Access, RegistryHost } from "./host.ts";
import type { RemoteDescriptor } from "./json.ts";
import { type ListPlace, listReferrers, listTags, taggedReferrers } from "./lists.ts";
import {
  ACCEPT,
  announcedDigest,
  checkManifest,
  hashOf,
  INDEX_TYPE,
  isCheckable,
  type ManifestHead,
  MAX_MANIFEST,
  plainType,
  type RemoteManifest,
  type StoredManifest,
  verify,
} from "./manifest.ts";
import { type BlobRange, fetchRanges, type RangeSink, type RangesResult } from "./ranges.ts";
import { attachmentTag, type DockerReference } from "./reference.ts";
import {
  BlobUpload,
  uploadBlob,
  type UploadOptions,
  type UploadPlace,
  type UploadResult,
  type UploadSource,
} from "./upload.ts";

/** How one thing is fetched. */
export interface FetchOptions {
  /** Gives it up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Where a repository is, and how to get in. */
export interface RepositoryPlace {
  /** Name as the user typed it. */
  readonly reference: DockerReference;
  /** Name that is asked for, after mirrors and other locations. */
  readonly physical: DockerReference;
  /** The registry. */
  readonly host: RegistryHost;
  /** Its authentication. */
  readonly auth: RegistryAuth;
  /** A client without secrets, for layers that are elsewhere. */
  readonly stranger: () => HttpClient;
  /** Where to go on when this is a mirror that lacks something; set once it was chosen. */
  next?: (() => Promise<RemoteRepository>) | undefined;
}

/** A repository of a registry. */
export class RemoteRepository {
  readonly #place: RepositoryPlace;
  readonly #manifests = new Map<string, RemoteManifest>();
  readonly #referrers = new Map<string, readonly RemoteDescriptor[]>();

  /** Nothing is asked for yet. */
  constructor(place: RepositoryPlace) {
    this.#place = place;
  }

  /** Name as the user typed it. */
  get reference(): DockerReference {
    return this.#place.reference;
  }

  /** Name that is asked for, after mirrors and other locations. */
  get physical(): DockerReference {
    return this.#place.physical;
  }

  /**
   * Where requests go, for the parts of this room that make others.
   *
   * @internal
   */
  get place(): RepositoryPlace {
    return this.#place;
  }

  /**
   * What a request for something in this repository needs.
   *
   * @param what what is asked for
   * @param options.actions what the token must allow
   * @internal
   */
  access(what: string, options: FetchOptions & { actions?: string } = {}): Access {
    const { physical, auth } = this.#place;
    return {
      scopes: [`repository:${physical.path}:${options.actions ?? "pull"}`],
      auth,
      what: `${what} in ${physical.name}`,
      signal: options.signal,
    };
  }

  /** Path of something in this repository, below `/v2/`. */
  path(rest: string): string {
    return `${this.#place.physical.path}/${rest}`;
  }

  /**
   * Fetches a manifest or index; its digest is verified. What was fetched before is kept.
   *
   * @param wanted tag or digest
   * @throws {RegistryError} when it is not there
   * @throws {DigestMismatchError} when it is another one than was asked for or announced
   * @throws {FormatError} when it is too large
   */
  async manifest(wanted: Digest | string, options: FetchOptions = {}): Promise<RemoteManifest> {
    const name = wanted.toString();
    const known = this.#manifests.get(name);
    if (known !== undefined) return known;
    const manifest = await this.#manifest(wanted, options);
    this.#manifests.set(name, manifest);
    this.#manifests.set(manifest.digest.toString(), manifest);
    return manifest;
  }

  async #manifest(wanted: Digest | string, options: FetchOptions): Promise<RemoteManifest> {
    const name = wanted.toString();
    const { host, next } = this.#place;
    try {
      const answer = await host.request(this.path(`manifests/${name}`), {
        headers: { accept: ACCEPT },
        maxSize: MAX_MANIFEST,
        access: this.access(name, options),
      });
      return checkManifest(answer, typeof wanted === "string" ? undefined : wanted);
    } catch (error) {
      // The same digest is the same manifest everywhere; the same tag need not be.
      const elsewhere = typeof wanted === "string" ? undefined : next;
      if (elsewhere === undefined || !isPlaceAtFault(error)) throw error;
      return await (await elsewhere()).manifest(wanted, options);
    }
  }

  /** What the registry says of a manifest; `undefined` when it does not have it. */
  async manifestHead(
    wanted: Digest | string,
    options: FetchOptions = {},
  ): Promise<ManifestHead | undefined> {
    const { status, headers } = await this.#place.host.request(
      this.path(`manifests/${wanted}`),
      {
        method: "HEAD",
        headers: { accept: ACCEPT },
        statuses: [200, 404],
        access: this.access(wanted.toString(), options),
      },
    );
    if (status === 404) return undefined;
    const length = headers.get("content-length");
    return {
      mediaType: plainType(headers),
      digest: announcedDigest(headers),
      size: length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined,
    };
  }

  /**
   * Fetches a blob, or its rest. Interruptions are survived, and what a mirror does not give comes
   * from the next place; the size is checked, the content is not: that is for whoever has all of it.
   *
   * @param sink gets each byte once and in order
   * @param options.start bytes that are there already
   * @throws {RegistryError} when the blob is not to be had
   * @throws {FormatError} when it has another size than announced
   */
  async blob(
    blob: BlobRef,
    sink: BlobSink,
    options: FetchOptions & { start?: number } = {},
  ): Promise<void> {
    const { digest, size } = blob;
    const { start = 0, signal } = options;
    if (start > size) throw new RangeError(`Blob ${digest} has ${size} bytes, not ${start}`);
    if (start === size && size > 0) return;
    const download = new BlobDownload(blob, sink, start);
    const access = this.access(digest.toString(), options);
    try {
      await this.#place.host.run(this.path(`blobs/${digest}`), download, access);
    } catch (error) {
      const { next } = this.#place;
      if (next !== undefined && isPlaceAtFault(error) && !signal?.aborted) {
        return await (await next()).blob(blob, sink, { ...options, start: download.received });
      }
      const elsewhere = foreignUrls(blob);
      const missing = error instanceof RegistryError && error.status === 404;
      if (!missing || elsewhere.length === 0) throw error;
      await this.#fromUrls(elsewhere, download, signal);
    }
  }

  /** Fetches a layer that the registry must not hand out from where its maker has it. */
  async #fromUrls(
    urls: readonly string[],
    download: BlobDownload,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    for (const [index, url] of urls.entries()) {
      try {
        return await this.#place.stranger().run(new URL(url), download, signal);
      } catch (error) {
        // The next place may have it.
        if (index === urls.length - 1 || signal?.aborted) throw error;
      }
    }
  }

  /**
   * The next place, for who has found that what came from here is wrong; `undefined` when this is
   * the last one.
   *
   * @throws {RegistryError} when it cannot be reached
   */
  async elsewhere(): Promise<RemoteRepository | undefined> {
    return await this.#place.next?.();
  }

  /**
   * Fetches and verifies a small blob.
   *
   * @param options.maxSize largest size in bytes
   * @throws as {@linkcode RemoteRepository.blob}; {DigestMismatchError} when it is another one,
   *   also in the last place
   */
  async blobBytes(
    blob: BlobRef,
    options: FetchOptions & { maxSize?: number } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    const { digest, size } = blob;
    const { maxSize = MAX_MANIFEST } = options;
    if (size > maxSize) {
      throw new FormatError("blob", `Blob ${digest} has ${size} bytes, more than ${maxSize}`);
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    const write = (piece: Uint8Array) => {
      bytes.set(piece, at);
      at += piece.length;
    };
    await this.blob(blob, { write }, options);
    try {
      verify(bytes, digest, "blob");
      return bytes;
    } catch (error) {
      const next = await this.elsewhere();
      if (next === undefined || !isPlaceAtFault(error)) throw error;
      return await next.blobBytes(blob, options);
    }
  }

  /**
   * Fetches parts of a blob; interruptions are survived, and only what is missing is asked for
   * again. The content is not verified.
   *
   * @param ranges ascending and not overlapping
   * @returns `refused` when the server gives no parts, even if some came: fetch all of it, then
   * @throws {RegistryError} when the blob is not to be had
   */
  async ranges(
    blob: BlobRef,
    ranges: readonly BlobRange[],
    options: FetchOptions & { readonly sink: RangeSink },
  ): Promise<RangesResult> {
    const { sink } = options;
    const { host } = this.#place;
    const access = this.access(blob.digest.toString(), options);
    const place = { host, path: this.path(`blobs/${blob.digest}`), access };
    return await fetchRanges(place, blob, { ranges, sink });
  }

  /** Size of a blob in bytes; `undefined` when the registry does not have it. */
  async blobSize(digest: Digest, options: FetchOptions = {}): Promise<number | undefined> {
    const { status, headers } = await this.#place.host.request(this.path(`blobs/${digest}`), {
      method: "HEAD",
      statuses: [200, 404],
      access: this.access(digest.toString(), options),
    });
    return status === 404 ? undefined : Number(headers.get("content-length") ?? 0);
  }

  /**
   * What refers to a manifest, by the registry's own list or by the tag that stands in for it. What
   * was asked for before is kept.
   *
   * @param options.artifactType leaves out what is said to be of another type
   * @throws {RegistryError} when the registry refuses
   * @throws {FormatError} when the list is none
   */
  async referrers(
    subject: Digest,
    options: FetchOptions & { artifactType?: string } = {},
  ): Promise<RemoteDescriptor[]> {
    const key = `${subject} ${options.artifactType ?? ""}`;
    const known = this.#referrers.get(key);
    if (known !== undefined) return [...known];
    const place = this.#lists(`referrers of ${subject}`, options);
    const found = await listReferrers(place, subject, options);
    this.#referrers.set(key, found);
    return [...found];
  }

  /**
   * The tags, in the registry's order.
   *
   * @throws as {@linkcode RemoteRepository.referrers}
   */
  async tags(options: FetchOptions = {}): Promise<string[]> {
    return await listTags(this.#lists("the tags", options));
  }

  #lists(what: string, options: FetchOptions): ListPlace {
    const { host } = this.#place;
    return { host, access: this.access(what, options), path: (rest) => this.path(rest) };
  }

  /**
   * Sends a blob, unless the registry has it or can take it from another repository.
   *
   * @param source its bytes; read again from where the registry stopped when a connection was lost
   * @throws {RegistryError} when the registry refuses or cannot be reached
   * @throws {FormatError} when the source has less than the announced size
   */
  async upload(
    blob: BlobRef,
    source: UploadSource,
    options: UploadOptions = {},
  ): Promise<UploadResult> {
    const place = this.#uploadPlace(blob.digest.toString(), options);
    return await uploadBlob(place, blob, { source, options });
  }

  /** Begins to send a blob whose digest is not known yet. */
  async startUpload(options: FetchOptions = {}): Promise<BlobUpload> {
    return (await BlobUpload.start(this.#uploadPlace("an upload", options)))!;
  }

  #uploadPlace(what: string, options: FetchOptions): UploadPlace {
    return {
      host: this.#place.host,
      path: this.path("blobs/uploads/"),
      access: this.access(what, { signal: options.signal, actions: "pull,push" }),
    };
  }

  /**
   * Stores a manifest or index, whose blobs must be there.
   *
   * @param name tag or digest under which it is stored
   * @throws {RegistryError} when the registry refuses
   * @throws {DigestMismatchError} when the registry stored something else
   */
  async putManifest(
    manifest: { readonly bytes: Uint8Array<ArrayBuffer>; readonly mediaType: string },
    name: Digest | string,
    options: FetchOptions = {},
  ): Promise<StoredManifest> {
    const { bytes, mediaType } = manifest;
    if (typeof name !== "string") verify(bytes, name, "manifest");
    const { headers } = await this.#place.host.request(this.path(`manifests/${name}`), {
      method: "PUT",
      headers: { "content-type": mediaType },
      body: bytes,
      statuses: [201, 200, 202],
      access: this.access(name.toString(), { signal: options.signal, actions: "pull,push" }),
    });
    const stored = announcedDigest(headers);
    if (stored !== undefined && isCheckable(stored)) verify(bytes, stored, "stored manifest");
    this.#manifests.delete(name.toString());
    this.#referrers.clear();
    const digest = typeof name === "string" ? Digest.sha256(hashOf("sha256", bytes)) : name;
    return { digest, listed: headers.has("oci-subject") };
  }

  /**
   * Adds a manifest to the list of what refers to another one, for registries that keep none.
   *
   * @param referrer the manifest, which must be stored
   */
  async addReferrer(
    subject: Digest,
    referrer: RemoteDescriptor,
    options: FetchOptions = {},
  ): Promise<void> {
    const known = await taggedReferrers(
      this.#lists(attachmentTag(subject), options),
      subject,
    );
    if (known.some(({ digest }) => digest.equals(referrer.digest))) return;
    const manifests = [...known, referrer].map((one) => ({
      mediaType: one.mediaType,
      digest: one.digest,
      size: one.size,
      ...(one.artifactType === "" ? {} : { artifactType: one.artifactType }),
      ...(Object.keys(one.annotations).length === 0 ? {} : { annotations: one.annotations }),
    }));
    const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests };
    const bytes = new TextEncoder().encode(JSON.stringify(index));
    await this.putManifest({ bytes, mediaType: INDEX_TYPE }, attachmentTag(subject), options);
  }
}

/** Whether another place may do better: this one lacks something, or has something else. */
function isPlaceAtFault(error: unknown): boolean {
  return error instanceof RegistryError || error instanceof DigestMismatchError ||
    error instanceof FormatError;
}
