/** Sending blobs and manifests to a registry (spec: oci 6; distribution-spec, push). */
import { ComposefsError, type Digest, FormatError } from "../base/mod.ts";
import type { HttpAnswer, RequestOptions } from "../http/mod.ts";
import type { BlobRef } from "./blob.ts";
import { RegistryError } from "./error.ts";
import type { Access, RegistryHost } from "./host.ts";

/** Bytes that are sent at a time; kept in memory until the registry has them. */
export const DEFAULT_CHUNK = 8 * 1024 * 1024;
/** Tries of one chunk after the first. */
const RETRIES = 4;
/** Tries of a whole blob after the first. */
const RESTARTS = 2;
/** Longest chunk size that a registry may ask for, in bytes. */
const MAX_CHUNK = 256 * 1024 * 1024;

/** Gives the bytes of a blob at any place; what was sent in vain is read again. */
export interface UploadSource {
  /**
   * Fills a buffer.
   *
   * @returns how many bytes there were, 0 at the end
   */
  read(offset: number, buffer: Uint8Array<ArrayBuffer>): number | Promise<number>;
}

/** How a blob is sent. */
export interface UploadOptions {
  /** Repositories of the same registry that may have the blob already. */
  readonly mountFrom?: string | readonly string[] | undefined;
  /** Bytes that are sent at a time. @default 8388608 */
  readonly chunkSize?: number | undefined;
  /** Told how many bytes the registry has. */
  readonly progress?: ((bytes: number) => void) | undefined;
  /** Gives it up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** What became of an upload: the blob was there, was there in another repository, or was sent. */
export type UploadResult = "present" | "mounted" | "uploaded";

/** Where uploads go. */
export interface UploadPlace {
  /** The registry. */
  readonly host: RegistryHost;
  /** Path of the repository's uploads below `/v2/`, with a slash at the end. */
  readonly path: string;
  /** Access for pushing. */
  readonly access: Access;
}

/** An upload under way; the registry drops it some time when it is not finished. */
export class BlobUpload {
  readonly #place: UploadPlace;
  readonly #least: number;
  #location: URL;
  #offset = 0;
  #ended = false;

  private constructor(place: UploadPlace, answer: HttpAnswer) {
    this.#place = place;
    this.#location = locationOf(answer);
    const least = Number(answer.headers.get("oci-chunk-min-length") ?? 0);
    this.#least = least > 0 && least <= MAX_CHUNK ? least : 0;
  }

  /**
   * Begins an upload; `undefined` when the registry took the blob from another repository instead.
   *
   * @param query `mount` and `from`, to have it taken from there
   */
  static async start(place: UploadPlace, query = ""): Promise<BlobUpload | undefined> {
    const answer = await place.host.request(`${place.path}${query}`, {
      method: "POST",
      statuses: [201, 202],
      access: place.access,
    });
    return answer.status === 201 && query !== "" ? undefined : new BlobUpload(place, answer);
  }

  /** Bytes that the registry has. */
  get offset(): number {
    return this.#offset;
  }

  /** Least size of chunks other than the last, as the registry wants it; 0 for any. */
  get leastChunk(): number {
    return this.#least;
  }

  /**
   * Sends the next bytes; goes on where the registry stopped when the connection was lost.
   *
   * @param chunk needed until the promise is kept
   * @throws {RegistryError} when the registry refuses or cannot be reached
   */
  async send(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.#ended) throw new TypeError("The upload has ended");
    const end = this.#offset + chunk.length;
    for (let tries = 0; this.#offset < end;) {
      const before = this.#offset;
      const rest = chunk.subarray(chunk.length - (end - before));
      try {
        const answer = await this.#request("PATCH", {
          headers: {
            "content-type": "application/octet-stream",
            "content-range": `${before}-${end - 1}`,
          },
          body: rest,
          statuses: [202],
        });
        this.#location = locationOf(answer);
        const received = receivedOf(answer) ?? end;
        this.#offset = received === 0 && end === 1 ? end : received;
      } catch (error) {
        if (!mayPass(error) || tries++ >= RETRIES) throw error;
        await this.#recover();
      }
      if (this.#offset < before || this.#offset > end) {
        throw this.#confused(`has ${this.#offset} bytes, but ${before} to ${end} were sent`);
      }
      if (this.#offset > before) tries = 0;
      else if (tries++ >= RETRIES) throw this.#confused(`takes nothing after ${before} bytes`);
    }
  }

  /** Asks how much has arrived. */
  async #recover(): Promise<void> {
    const answer = await this.#request("GET", { statuses: [204, 202, 200], once: false });
    if (answer.headers.has("location")) this.#location = locationOf(answer);
    this.#offset = receivedOf(answer) ?? 0;
  }

  /**
   * Ends the upload.
   *
   * @param digest of all that was sent; the registry checks it
   * @param last the last bytes, which are not sent again when they get lost
   * @throws {RegistryError} when it is another one
   */
  async finish(
    digest: Digest,
    last: Uint8Array<ArrayBuffer> = new Uint8Array(0),
  ): Promise<void> {
    if (this.#ended) throw new TypeError("The upload has ended");
    const url = new URL(this.#location);
    url.searchParams.set("digest", digest.toString());
    try {
      await this.#request("PUT", {
        headers: { "content-type": "application/octet-stream" },
        statuses: [201, 204],
        body: last,
      }, url);
    } catch (error) {
      // The answer may have been lost, not the blob.
      if (!mayPass(error) && !isForgotten(error) || !(await this.#isThere(digest))) throw error;
    }
    this.#ended = true;
  }

  async #isThere(digest: Digest): Promise<boolean> {
    const { host, path, access } = this.#place;
    const blob = path.replace(/uploads\/$/, digest.toString());
    const { status } = await host.request(blob, { method: "HEAD", statuses: [200, 404], access });
    return status === 200;
  }

  /** Tells the registry to forget it; that it does not answer is no failure. */
  async cancel(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      await this.#request("DELETE", { statuses: [200, 202, 204, 404, 405] });
    } catch (error) {
      // It forgets unfinished uploads by itself, later.
      if (!(error instanceof ComposefsError)) throw error;
    }
  }

  #request(
    method: string,
    options: RequestOptions,
    url: URL = this.#location,
  ): Promise<HttpAnswer> {
    const { host, access } = this.#place;
    return host.request(url, { once: true, ...options, method, access });
  }

  #confused(why: string): RegistryError {
    const url = new URL(this.#location);
    url.search = "";
    return new RegistryError(`${this.#place.access.what}: the registry ${why}`, { url: url.href });
  }
}

/** Whether another try may help: there was no answer, or one of a passing trouble. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status } = error;
  // 416 is how registries say that a chunk does not begin where they stopped.
  return status === undefined || status === 408 || status === 416 || status === 429 ||
    status >= 500;
}

/** Where an upload goes on. */
function locationOf({ headers, url }: HttpAnswer): URL {
  const location = headers.get("location") ?? "";
  const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
  if (location === "" || next === undefined || !/^https?:$/.test(next.protocol)) {
    throw new FormatError("registry", "The registry does not say where the upload goes on");
  }
  if (url.protocol === "https:" && next.protocol === "http:") {
    // Behind proxies that end TLS, registries often do not know their own scheme.
    if (next.hostname !== url.hostname) {
      throw new FormatError("registry", "The registry sends the upload to a place without TLS");
    }
    next.protocol = "https:";
    next.port = url.port;
  }
  next.username = next.password = next.hash = "";
  return next;
}

/** Bytes that have arrived, as `Range: 0-N` says; `undefined` when it does not. */
function receivedOf({ headers }: HttpAnswer): number | undefined {
  const match = /^(?:bytes=)?0-(\d{1,15})$/.exec(headers.get("range") ?? "");
  if (match === null) return undefined;
  const last = Number(match[1]);
  // Nothing and one byte look the same; registries say it before anything has arrived.
  return last === 0 ? 0 : last + 1;
}

/**
 * Sends a blob, unless the registry has it.
 *
 * @throws {RegistryError} when the registry refuses or cannot be reached
 * @throws {FormatError} when the source has less than the announced size
 */
export async function uploadBlob(
  place: UploadPlace,
  blob: BlobRef,
  { source, options }: { source: UploadSource; options: UploadOptions },
): Promise<UploadResult> {
  const { digest } = blob;
  for (let tries = 0;; tries++) {
    const upload = await openUpload(place, digest, options);
    // What is there after a failure is what was sent before it.
    if (upload === "present") return tries > 0 ? "uploaded" : upload;
    if (upload === "mounted") return upload;
    try {
      await sendAll(upload, blob, { source, options });
      return "uploaded";
    } catch (error) {
      await upload.cancel();
      // The registry forgot the upload, or lost its place in it: from the beginning, then.
      if (!isForgotten(error) && !mayPass(error) || tries >= RESTARTS) throw error;
    }
  }
}

async function sendAll(
  upload: BlobUpload,
  { digest, size }: BlobRef,
  { source, options }: { source: UploadSource; options: UploadOptions },
): Promise<void> {
  const { progress, chunkSize = DEFAULT_CHUNK } = options;
  const step = Math.max(chunkSize, upload.leastChunk);
  const buffer = new Uint8Array(Math.max(1, Math.min(step, size)));
  for (let at = 0;;) {
    const chunk = buffer.subarray(0, Math.min(step, size - at));
    for (let have = 0; have < chunk.length;) {
      const got = await source.read(at + have, chunk.subarray(have));
      if (got <= 0) {
        throw new FormatError("blob", `Blob ${digest} ends after ${at + have} of ${size} bytes`);
      }
      have += got;
    }
    at += chunk.length;
    // Small blobs need no request of their own for their only chunk.
    if (at === size && at === chunk.length) {
      await upload.finish(digest, chunk);
      progress?.(at);
      return;
    }
    if (chunk.length > 0) await upload.send(chunk);
    progress?.(at);
    if (at === size) return await upload.finish(digest);
  }
}

/** Whether an upload is no longer known. */
function isForgotten(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  return /^BLOB_UPLOAD_(UNKNOWN|INVALID)$/.test(error.registryCode) || error.status === 404;
}

async function openUpload(
  place: UploadPlace,
  digest: Digest,
  options: UploadOptions,
): Promise<BlobUpload | "present" | "mounted"> {
  const { host, path, access } = place;
  const blob = path.replace(/uploads\/$/, digest.toString());
  const { status } = await host.request(blob, { method: "HEAD", statuses: [200, 404], access });
  if (status === 200) return "present";
  const sources = [options.mountFrom ?? []].flat();
  for (const [index, from] of sources.entries()) {
    const query = `?mount=${encodeURIComponent(digest.toString())}&from=${
      encodeURIComponent(from)
    }`;
    const upload = await mountOrStart(place, query, from);
    if (upload === undefined) return "mounted";
    if (upload !== "refused") {
      if (index === sources.length - 1) return upload;
      await upload.cancel();
    }
  }
  return (await BlobUpload.start(place))!;
}

async function mountOrStart(
  place: UploadPlace,
  query: string,
  from: string,
): Promise<BlobUpload | undefined | "refused"> {
  const { access } = place;
  // The token must let the other repository be read, too.
  const scopes = [...access.scopes, `repository:${from}:pull`];
  try {
    const upload = await BlobUpload.start({ ...place, access: { ...access, scopes } }, query);
    return upload;
  } catch (error) {
    // Not for us, or no such repository: then the blob is sent.
    if (!(error instanceof RegistryError) || error.status === undefined) throw error;
    if (error.status >= 500 || error.status === 429) throw error;
    return "refused";
  }
}
