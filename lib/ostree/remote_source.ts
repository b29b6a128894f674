/** A repository on a server (spec: ostree 8). */
import { type ComposefsError, NotFoundError, UnsupportedError } from "../base/mod.ts";
import type { Fd } from "../../ffi/mod.ts";
import { type BodyReceiver, type HttpClientOptions, shownUrl } from "../http/mod.ts";
import { type Checksum, checksumOf, isChecksum, parseChecksum } from "./checksum.ts";
import { parseCommit } from "./commit_object.ts";
import { parseKeyfile } from "./keyfile.ts";
import {
  corruptedObject,
  MAX_METADATA_SIZE,
  type MetadataKind,
  ostreeObjectPath,
} from "./object_kind.ts";
import type { PullJournal } from "./pull_journal.ts";
import { checkRef, parseRevision } from "./ref_names.ts";
import { RemoteFiles } from "./remote_files.ts";
import { isMissing, RemoteServer } from "./remote_server.ts";
import { RemoteSummary, type RemoteSummaryOptions } from "./remote_summary.ts";
import type { FileImport, ImportOptions, OstreeSource, ResolvedRef } from "./source.ts";
import { type Summary, summaryCommit } from "./summary.ts";

/** How a remote repository is used. */
export interface RemoteSourceOptions extends HttpClientOptions, RemoteSummaryOptions {
  /** Where the objects are, when elsewhere; also `mirrorlist=URL`. */
  readonly contentUrl?: string;
  /** What earlier pulls brought, and where this one keeps it. */
  readonly journal?: PullJournal;
}

/** A repository on a server. */
export class RemoteSource implements OstreeSource {
  readonly location: string;
  readonly remote = true;
  readonly #options: RemoteSourceOptions;
  readonly #server: RemoteServer;
  #summary: Promise<Summary | undefined> | undefined;
  readonly #resolved = new Map<string, Promise<ResolvedRef>>();
  #journal: PullJournal | undefined;

  /**
   * Prepares a repository; nothing is fetched yet.
   *
   * @param url its URL, `mirrorlist=URL` or `metalink=URL`
   */
  constructor(url: string, options: RemoteSourceOptions = {}) {
    this.#options = options;
    const at = url.indexOf("=") + 1;
    const bare = /^(?:mirrorlist|metalink)=/.test(url) ? url.slice(at) : url;
    this.location = URL.canParse(bare) ? shownUrl(new URL(bare)) : bare;
    this.#journal = options.journal;
    this.#server = new RemoteServer(url, options);
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
    const bytes = await this.#server.document(`refs/heads/${name}`);
    return { commit: parseChecksum(new TextDecoder().decode(bytes).trim()), ref: name };
  }

  /**
   * The repository's summary, or that of the subset where there is an index; `undefined` when it
   * has neither.
   */
  summary(): Promise<Summary | undefined> {
    return this.#summary ??= new RemoteSummary(this.#server, this.location, this.#options).fetch();
  }

  /**
   * Checks that the repository is one whose objects can be fetched.
   *
   * @throws {UnsupportedError} when its config says that it is none
   */
  async checkCommit(): Promise<void> {
    const bytes = await this.#server.optional("config");
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
      bytes = await this.#server.document(path, { maxSize: MAX_METADATA_SIZE });
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
    if (await this.#server.optional(path) === undefined) return;
    const message = `commit ${commit} was deleted (tombstone)`;
    throw new NotFoundError("commit", commit, { message });
  }

  readDetached(commit: Checksum): Promise<Uint8Array | undefined> {
    const path = `objects/${ostreeObjectPath(commit, "commitmeta")}`;
    return this.#server.optional(path, { maxSize: MAX_METADATA_SIZE });
  }

  importFiles(options: ImportOptions): FileImport {
    return new RemoteFiles(
      (checksum, receiver, signal) => this.#fetchFile(checksum, { receiver, signal }),
      options,
      { jobs: this.#server.requests, journal: this.#journal },
    );
  }

  async #fetchFile<T>(
    checksum: Checksum,
    options: { receiver: BodyReceiver<T>; signal: AbortSignal },
  ): Promise<T> {
    const path = `objects/${ostreeObjectPath(checksum, "filez")}`;
    const { receiver, signal } = options;
    try {
      return await this.#server.object(path, receiver, signal);
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
    return await this.#server.optional(path, options);
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
    const { into, ...rest } = options;
    return await this.#server.into(into, path, rest);
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
  }
}

function missingObject(kind: string, checksum: Checksum, cause: ComposefsError): NotFoundError {
  const message = `${kind} object ${checksum}: ${cause.message}`;
  return new NotFoundError(`${kind} object`, checksum, { message, cause });
}
