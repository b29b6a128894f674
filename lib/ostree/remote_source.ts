/** A repository on a server (spec: ostree 8). */
import { gunzipSync } from "node:zlib";
import {
  type ComposefsError,
  DigestMismatchError,
  FormatError,
  NotFoundError,
  PolicyError,
  UnsupportedError,
} from "../base/mod.ts";
import {
  type BodyReceiver,
  HttpClient,
  type HttpClientOptions,
  HttpError,
  shownUrl,
} from "../http/mod.ts";
import type { Fd } from "../../ffi/mod.ts";
import { type Checksum, checksumOf, isChecksum, parseChecksum } from "./checksum.ts";
import { parseCommit } from "./commit_object.ts";
import { FileBody } from "./file_body.ts";
import { parseKeyfile } from "./keyfile.ts";
import { checkMetalinkFile, type RemotePlaces, resolvePlaces } from "./mirrors.ts";
import {
  corruptedObject,
  MAX_METADATA_SIZE,
  type MetadataKind,
  ostreeObjectPath,
} from "./object_kind.ts";
import type { PullJournal } from "./pull_journal.ts";
import { checkRef, parseRevision } from "./ref_names.ts";
import { RemoteFiles } from "./remote_files.ts";
import type { FileImport, ImportOptions, OstreeSource, ResolvedRef } from "./source.ts";
import {
  MAX_SUMMARY_SIZE,
  parseSummary,
  parseSummaryIndex,
  type Summary,
  summaryCommit,
} from "./summary.ts";
import { type SummaryCache, summaryCacheKey } from "./summary_cache.ts";

/** Difference in milliseconds below which a date does not tell two versions apart. */
const DATE_STEP = 2000;

/** A summary or index of summaries that came, for those who check signatures. */
export interface ArrivedSummary {
  /** Its file: `summary` or `summary.idx`. */
  readonly file: "summary" | "summary.idx";
  /** Its bytes. */
  readonly bytes: Uint8Array;
  /** The signatures beside it; `undefined` when there are none. */
  readonly signature: Uint8Array | undefined;
}

/** How a remote repository is used. */
export interface RemoteSourceOptions extends HttpClientOptions {
  /** Where the objects are, when elsewhere; also `mirrorlist=URL`. */
  readonly contentUrl?: string;
  /** Subset of the refs to look in. @default the machine's architecture */
  readonly subset?: string;
  /** Keeps summaries between pulls. */
  readonly cache?: SummaryCache;
  /** What earlier pulls brought, and where this one keeps it. */
  readonly journal?: PullJournal;
  /** Checks signatures of the summary or its index; throws to refuse it. */
  readonly verifySummary?: (summary: ArrivedSummary) => void | Promise<void>;
}

/** A repository on a server. */
export class RemoteSource implements OstreeSource {
  readonly location: string;
  readonly remote = true;
  readonly #url: string;
  readonly #options: RemoteSourceOptions;
  readonly #client: HttpClient;
  #places: Promise<RemotePlaces> | undefined;
  #content: Promise<RemotePlaces> | undefined;
  #summary: Promise<Summary | undefined> | undefined;
  readonly #resolved = new Map<string, Promise<ResolvedRef>>();
  #journal: PullJournal | undefined;
  /** Servers that failed go behind those that did not. */
  readonly #failed = new Map<string, number>();

  /**
   * Prepares a repository; nothing is fetched yet.
   *
   * @param url its URL, `mirrorlist=URL` or `metalink=URL`
   */
  constructor(url: string, options: RemoteSourceOptions = {}) {
    this.#url = url;
    this.#options = options;
    const at = url.indexOf("=") + 1;
    const bare = /^(?:mirrorlist|metalink)=/.test(url) ? url.slice(at) : url;
    this.location = URL.canParse(bare) ? shownUrl(new URL(bare)) : bare;
    this.#journal = options.journal;
    this.#client = new HttpClient(options);
  }

  /** From now on keeps what arrives in another journal, and takes from it. */
  useJournal(journal: PullJournal | undefined): void {
    this.#journal = journal;
  }

  /** Finds a commit; asked again it gives the same answer. */
  resolve(reference: string): Promise<ResolvedRef> {
    let resolved = this.#resolved.get(reference);
    if (resolved === undefined) {
      this.#resolved.set(reference, resolved = this.#resolve(reference));
    }
    return resolved;
  }

  async #resolve(reference: string): Promise<ResolvedRef> {
    const { name, parents } = parseRevision(reference);
    let found = await this.#resolveName(name);
    for (let i = 0; i < parents; i++) {
      const bytes = await this.readMetadata("commit", found.commit);
      const actual = checksumOf(bytes);
      if (actual !== found.commit) throw corruptedObject("commit", found.commit, actual);
      const { parent } = parseCommit(bytes);
      if (parent === undefined) {
        const message = `Commit ${found.commit} has no parent`;
        throw new NotFoundError("parent commit", found.commit, { message });
      }
      found = { commit: parent, ref: undefined };
    }
    return found;
  }

  async #resolveName(name: string): Promise<ResolvedRef> {
    if (isChecksum(name)) return { commit: name, ref: undefined };
    checkRef(name);
    const summary = await this.summary();
    const listed = summary === undefined ? undefined : summaryCommit(summary, name);
    if (listed !== undefined) return { commit: listed, ref: name };
    if (summary !== undefined && this.#options.verifySummary !== undefined) {
      // A ref beside a summary that has to be signed is signed by nobody.
      const message = `No such ref '${name}' in the summary of ${this.location}`;
      throw new NotFoundError("ostree ref", name, { message });
    }
    const bytes = await this.#document(`refs/heads/${name}`);
    return { commit: parseChecksum(new TextDecoder().decode(bytes).trim()), ref: name };
  }

  /**
   * The repository's summary, or that of the subset where there is an index; `undefined` when it
   * has neither.
   */
  summary(): Promise<Summary | undefined> {
    this.#summary ??= this.#fetchSummary();
    return this.#summary;
  }

  async #fetchSummary(): Promise<Summary | undefined> {
    const { bases, summary: metalink } = await this.#bases();
    const bytes = metalink === undefined ? await this.#subsetSummary(bases[0]!) : undefined;
    if (bytes !== undefined) return parseSummary(bytes);
    const name = `ostree-summary-${summaryCacheKey(bases[0]!)}`;
    const whole = await this.#cachedSummary(name);
    if (whole === undefined) {
      if (metalink !== undefined) throw noSummary(this.location);
      if (this.#options.verifySummary === undefined) return undefined;
      // Whoever can hide the summary must not get around its signature.
      throw new PolicyError("Signature verification enabled, but no summary found");
    }
    if (metalink !== undefined) checkMetalinkFile(metalink, whole);
    await this.#verifySummary("summary", whole);
    return parseSummary(whole);
  }

  async #verifySummary(file: ArrivedSummary["file"], bytes: Uint8Array): Promise<void> {
    const { verifySummary } = this.#options;
    if (verifySummary === undefined) return;
    const signature = await this.#optional(`${file}.sig`, MAX_METADATA_SIZE);
    await verifySummary({ file, bytes, signature });
  }

  /** The summary by the index; `undefined` when there is none or it lacks the subset. */
  async #subsetSummary(base: URL): Promise<Uint8Array | undefined> {
    const index = await this.#optional("summary.idx", MAX_SUMMARY_SIZE);
    if (index === undefined) return undefined;
    const subset = this.#options.subset ?? Deno.build.arch;
    const checksum = parseSummaryIndex(index).subsets.get(subset);
    if (checksum === undefined) return undefined;
    await this.#verifySummary("summary.idx", index);
    const name = `ostree-subsummary-${subset.replaceAll("/", "-")}-${summaryCacheKey(base)}`;
    const cached = this.#options.cache?.load(name)?.bytes;
    if (cached !== undefined && checksumOf(cached) === checksum) return cached;
    const packed = await this.#document(`summaries/${checksum}.gz`, MAX_SUMMARY_SIZE);
    const bytes = gunzip(packed);
    const actual = checksumOf(bytes);
    if (actual !== checksum) {
      const message = `subsummary checksum mismatch: expected ${checksum}, got ${actual}`;
      throw new DigestMismatchError("subsummary", checksum, actual, { message });
    }
    this.#options.cache?.store(name, { etag: "", lastModified: "", bytes });
    return bytes;
  }

  /** The file `summary`, fetched only when it has changed. */
  async #cachedSummary(name: string): Promise<Uint8Array | undefined> {
    const { cache } = this.#options;
    const cached = cache?.load(name);
    const options = { maxSize: MAX_SUMMARY_SIZE, packed: true };
    try {
      let answer = await this.#try((base) =>
        this.#client.get(new URL("summary", base), {
          ...options,
          ...(cached === undefined ? {} : { etag: cached.etag, lastModified: cached.lastModified }),
        })
      );
      if (answer.bytes === undefined && cached !== undefined) {
        const age = Date.parse(answer.date) - Date.parse(cached.lastModified);
        if (cached.etag !== "" || age >= DATE_STEP) return cached.bytes;
        answer = await this.#try((base) => this.#client.get(new URL("summary", base), options));
      }
      const { bytes, etag, lastModified } = answer;
      if (bytes === undefined) return undefined;
      if (etag !== "" || lastModified !== "") cache?.store(name, { etag, lastModified, bytes });
      return bytes;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /**
   * Checks that the repository is one whose objects can be fetched.
   *
   * @throws {UnsupportedError} when its config says that it is none
   */
  async checkCommit(): Promise<void> {
    const bytes = await this.#optional("config");
    if (bytes === undefined) return;
    const mode = parseKeyfile(new TextDecoder().decode(bytes)).get("core")?.get("mode") ?? "bare";
    if (mode === "archive" || mode === "archive-z2") return;
    throw new UnsupportedError(`Cannot pull from repository with mode '${mode}' over HTTP`);
  }

  async readMetadata(kind: MetadataKind, checksum: Checksum): Promise<Uint8Array> {
    const kept = this.#journal?.get(checksum);
    if (kept !== undefined && checksumOf(kept.data) === checksum) return kept.data;
    const path = `objects/${ostreeObjectPath(checksum, kind)}`;
    let bytes: Uint8Array;
    try {
      bytes = (await this.#try((base) =>
        this.#client.get(below(base, path), { maxSize: MAX_METADATA_SIZE })
      )).bytes!;
    } catch (error) {
      if (!isMissing(error)) throw error;
      if (kind === "commit") await this.#checkTombstone(checksum);
      throw missingObject(kind, checksum, error);
    }
    if (checksumOf(bytes) === checksum) {
      this.#journal?.add(checksum, { data: bytes, object: undefined });
    }
    return bytes;
  }

  async #checkTombstone(commit: Checksum): Promise<void> {
    const path = `objects/${ostreeObjectPath(commit, "tombstone-commit")}`;
    if (await this.#optional(path) === undefined) return;
    const message = `commit ${commit} was deleted (tombstone)`;
    throw new NotFoundError("commit", commit, { message });
  }

  readDetached(commit: Checksum): Promise<Uint8Array | undefined> {
    return this.#optional(`objects/${ostreeObjectPath(commit, "commitmeta")}`, MAX_METADATA_SIZE);
  }

  importFiles(options: ImportOptions): FileImport {
    return new RemoteFiles(
      (checksum, receiver, signal) => this.#fetchFile(checksum, { receiver, signal }),
      options,
      { jobs: this.#client.requests, journal: this.#journal },
    );
  }

  async #fetchFile<T>(
    checksum: Checksum,
    options: { receiver: BodyReceiver<T>; signal: AbortSignal },
  ): Promise<T> {
    const path = `objects/${ostreeObjectPath(checksum, "filez")}`;
    const { receiver, signal } = options;
    try {
      return await this.#try(
        (base) => this.#client.download(below(base, path), receiver, { signal }),
        true,
      );
    } catch (error) {
      throw isMissing(error) ? missingObject("file", checksum, error) : error;
    }
  }

  /**
   * A file of the repository, such as a part of a static delta.
   *
   * @param path below the repository, with slashes
   * @param options.maxSize largest size in bytes
   * @param options.content whether it is where the objects are
   * @returns undefined when it is not there
   */
  async readFile(
    path: string,
    options: { maxSize: number; content?: boolean },
  ): Promise<Uint8Array | undefined> {
    return await this.#optional(path, options.maxSize, options.content ?? false);
  }

  /**
   * Writes a file of the repository into an open one, such as a large part of a static delta.
   *
   * @param path below the repository, with slashes
   * @param options.maxSize largest size in bytes
   * @param options.content whether it is where the objects are
   * @returns whether it is there
   */
  async fetchFile(
    path: string,
    options: { into: Fd; maxSize: number; content?: boolean },
  ): Promise<boolean> {
    const { into, maxSize, content = false } = options;
    try {
      const body = new FileBody(into);
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

  async #optional(
    path: string,
    maxSize?: number,
    content = false,
  ): Promise<Uint8Array | undefined> {
    try {
      return await this.#document(path, maxSize, content);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #document(path: string, maxSize?: number, content = false): Promise<Uint8Array> {
    const options = maxSize === undefined ? {} : { maxSize };
    const answer = await this.#try(
      (base) => this.#client.get(below(base, path), options),
      content,
    );
    return answer.bytes!;
  }

  #bases(): Promise<RemotePlaces> {
    this.#places ??= resolvePlaces(this.#client, this.#url);
    return this.#places;
  }

  #contentBases(): Promise<RemotePlaces> {
    const { contentUrl } = this.#options;
    if (contentUrl === undefined) return this.#bases();
    this.#content ??= resolvePlaces(this.#client, contentUrl);
    return this.#content;
  }

  /** Asks one server after the other until one has it. */
  async #try<T>(ask: (base: URL) => Promise<T>, content = false): Promise<T> {
    const { bases } = await (content ? this.#contentBases() : this.#bases());
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
  const escaped = path.split("/").map((part) => encodeURIComponent(part).replaceAll("%2B", "+"));
  const url = new URL(escaped.join("/"), base);
  if (base.search !== "") url.search = base.search;
  return url;
}

function isMissing(error: unknown): error is HttpError {
  return error instanceof HttpError && error.code === "CFS_NOT_FOUND";
}

/** A metalink says what the summary is, so there has to be one. */
function noSummary(location: string): NotFoundError {
  const message = "no summary available from remote";
  return new NotFoundError("summary", location, { message });
}

function missingObject(kind: string, checksum: Checksum, cause: ComposefsError): NotFoundError {
  const message = `${kind} object ${checksum}: ${cause.message}`;
  return new NotFoundError(`${kind} object`, checksum, { message, cause });
}

function gunzip(packed: Uint8Array): Uint8Array {
  try {
    return gunzipSync(packed, { maxOutputLength: MAX_SUMMARY_SIZE });
  } catch (cause) {
    const { message } = cause as Error;
    throw new FormatError("gzip", `Invalid gzip data in summary: ${message}`, { cause });
  }
}
