/** The places that a remote repository is fetched from (spec: ostree 8.1, 8.5). */
import type { Fd } from "../../ffi/mod.ts";
import {
  type BodyReceiver,
  HttpClient,
  type HttpClientOptions,
  type HttpDocument,
  HttpError,
} from "../http/mod.ts";
import { FileBody } from "./file_body.ts";
import { type RemotePlaces, resolvePlaces } from "./mirrors.ts";

/** How a file of a repository is fetched. */
export interface RemoteFileOptions {
  /** Largest size in bytes. @default 65536, when it is read as a whole */
  readonly maxSize?: number;
  /** Whether it is where the objects are. @default false */
  readonly content?: boolean;
}

/** One or more servers with the same repository; what one lacks another may have. */
export class RemoteServer implements Disposable {
  readonly #url: string;
  readonly #contentUrl: string | undefined;
  readonly #client: HttpClient;
  #places: Promise<RemotePlaces> | undefined;
  #content: Promise<RemotePlaces> | undefined;
  /** Servers that failed go behind those that did not. */
  readonly #failed = new Map<string, number>();

  /**
   * Prepares it; nothing is fetched yet.
   *
   * @param url a URL, `mirrorlist=URL` or `metalink=URL`
   * @param options.contentUrl where the objects are, when elsewhere
   */
  constructor(url: string, options: HttpClientOptions & { readonly contentUrl?: string }) {
    this.#url = url;
    this.#contentUrl = options.contentUrl;
    this.#client = new HttpClient(options);
  }

  /** Requests to one host at a time. */
  get requests(): number {
    return this.#client.requests;
  }

  /** Where everything but the objects is. */
  places(): Promise<RemotePlaces> {
    return this.#places ??= resolvePlaces(this.#client, this.#url);
  }

  #contentPlaces(): Promise<RemotePlaces> {
    if (this.#contentUrl === undefined) return this.places();
    return this.#content ??= resolvePlaces(this.#client, this.#contentUrl);
  }

  /**
   * Fetches a file as a whole, unless it is still the same.
   *
   * @param path below the repository, with slashes
   * @throws {HttpError} when no server has it
   */
  get(
    path: string,
    options: RemoteFileOptions & { etag?: string; lastModified?: string; packed?: boolean } = {},
  ): Promise<HttpDocument> {
    const { content = false, ...rest } = options;
    return this.#try((base) => this.#client.get(below(base, path), rest), content);
  }

  /** A file as a whole; {@linkcode isMissing} tells of errors whether no server has it. */
  async document(path: string, options: RemoteFileOptions = {}): Promise<Uint8Array> {
    return (await this.get(path, options)).bytes!;
  }

  /** A file as a whole; `undefined` when no server has it. */
  async optional(path: string, options: RemoteFileOptions = {}): Promise<Uint8Array | undefined> {
    try {
      return await this.document(path, options);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Fetches an object of any size. */
  object<T>(path: string, receiver: BodyReceiver<T>, signal: AbortSignal): Promise<T> {
    return this.#try(
      (base) => this.#client.download(below(base, path), receiver, { signal }),
      true,
    );
  }

  /**
   * Writes a file into an open one.
   *
   * @returns whether a server has it
   */
  async into(
    fd: Fd,
    path: string,
    options: RemoteFileOptions & { readonly maxSize: number },
  ): Promise<boolean> {
    const { maxSize, content = false } = options;
    const body = new FileBody(fd);
    try {
      await this.#try(
        (base) => this.#client.download(below(base, path), body, { maxSize }),
        content,
      );
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /** Asks one server after the other until one has it. */
  async #try<T>(ask: (base: URL) => Promise<T>, content = false): Promise<T> {
    const { bases } = await (content ? this.#contentPlaces() : this.places());
    if (bases.length === 1) return await ask(bases[0]!);
    const failures = (base: URL) => this.#failed.get(base.href) ?? 0;
    const order = bases.toSorted((a, b) => failures(a) - failures(b));
    let failure: unknown;
    for (const base of order) {
      try {
        return await ask(base);
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        // Missing weighs less than trouble, and says less than trouble elsewhere.
        if (!isMissing(error)) this.#failed.set(base.href, failures(base) + 1);
        if (failure === undefined || isMissing(failure)) failure = error;
      }
    }
    throw failure;
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

/** A path below a base; its parts are escaped, the slashes between them are not. */
function below(base: URL, path: string): URL {
  const url = new URL(/^[\w./-]*$/.test(path) ? path : escaped(path), base);
  if (base.search !== "") url.search = base.search;
  return url;
}

function escaped(path: string): string {
  return path.split("/").map((part) => encodeURIComponent(part).replaceAll("%2B", "+")).join("/");
}

/** Whether an error says that a server does not have what was asked for. */
export function isMissing(error: unknown): error is HttpError {
  return error instanceof HttpError && error.code === "CFS_NOT_FOUND";
}
