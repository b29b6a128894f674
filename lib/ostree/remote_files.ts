/** Imports files of a remote repository, several requests at a time (spec: ostree 8.5). */
import {
  ComposefsError,
  DigestMismatchError,
  FormatError,
  letMessagesIn,
  objectPath,
  Pool,
} from "../base/mod.ts";
import { fstat, O, openIfExists } from "../../ffi/mod.ts";
import type { BodyReceiver } from "../http/mod.ts";
import type { Checksum } from "./checksum.ts";
import {
  FetchedBatch,
  type FetchedResult,
  type FetchedTask,
  importFetched,
  importPart,
  type PartTask,
} from "./fetched_batch.ts";
import { FRAME_SIZE, parseArchiveHeader, parseFrame } from "./file_header.ts";
import { dropImporter, importerFor, unpackBatch } from "./import_batch.ts";
import { PartFile } from "./part_file.ts";
import type { PullJournal } from "./pull_journal.ts";
import type { FileImport, ImportedFile, ImportOptions } from "./source.ts";

/** Fetches the archive form of a file object. */
export type FetchFile = <T>(
  checksum: Checksum,
  receiver: BodyReceiver<T>,
  signal: AbortSignal,
) => Promise<T>;

/** Objects, and bytes of them, after which workers are started: that takes some time itself. */
const WORTH_WORKERS = { objects: 400, bytes: 4 * 1024 * 1024 } as const;
/** Objects above this many bytes come in pieces, and are kept in files while they do. */
const LARGE = 256 * 1024;
/** So do smaller ones, when so many bytes are under way: a pull that fails loses them. */
const UNDER_WAY = 1024 * 1024;
/** Those up to this size may be imported by the thread that fetches. */
const SMALL_PART = 4 * 1024 * 1024;
/** Batches that a worker holds; few, since a killed pull loses them. */
const DEPTH = 2;

/**
 * Imports files of a remote repository: this thread fetches, workers import what has come, and when
 * they have enough to do this thread imports as well.
 */
export class RemoteFiles implements FileImport {
  readonly #fetch: FetchFile;
  readonly #options: ImportOptions;
  readonly #jobs: number;
  readonly #journal: PullJournal | undefined;
  readonly #controller = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #importing = new Set<Promise<void>>();
  #room: (() => void)[] = [];
  #pool: Pool | undefined;
  #batch: FetchedBatch | undefined;
  readonly #buffers: ArrayBuffer[] = [];
  #fetched = 0;
  #fetchedBytes = 0;
  /** Bytes of bodies that are in memory until they are whole. */
  #underWay = 0;
  #failure: { readonly error: unknown } | undefined;
  readonly #aborted = () => this.#fail(this.#options.signal?.reason);

  /** Starts without files. */
  constructor(
    fetch: FetchFile,
    options: ImportOptions,
    more: { jobs: number; journal: PullJournal | undefined },
  ) {
    this.#fetch = fetch;
    this.#options = options;
    this.#jobs = options.jobs ?? more.jobs;
    this.#journal = more.journal;
    options.signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  add(checksum: Checksum): Promise<void> | undefined {
    this.#check();
    if (this.#fromJournal(checksum)) return undefined;
    if (this.#running.size >= this.#jobs) return this.#whenRoom(checksum);
    this.#start(checksum);
    return undefined;
  }

  async #whenRoom(checksum: Checksum): Promise<void> {
    while (this.#running.size >= this.#jobs) {
      await new Promise<void>((resolve) => this.#room.push(resolve));
      this.#check();
    }
    this.#start(checksum);
  }

  #start(checksum: Checksum): void {
    const running: Promise<void> = this.#download(checksum).catch((error) => this.#fail(error))
      .finally(() => {
        this.#running.delete(running);
        this.#room.shift()?.();
      });
    this.#running.add(running);
  }

  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.#check();
    await this.#finishImports();
    this.#check();
  }

  /** Imports all that has arrived. */
  async #finishImports(): Promise<void> {
    this.#send();
    while (this.#pool !== undefined && this.#help(this.#pool)) await letMessagesIn();
    await Promise.all(this.#importing);
  }

  async #download(checksum: Checksum): Promise<void> {
    const importer = importerFor(this.#options.target);
    let part: PartFile | undefined;
    let held = 0;
    const open = () => part ??= this.#journal?.openPart(checksum);
    try {
      for (;;) {
        const result = await this.#fetch<ImportedFile | PartFile | undefined>(checksum, {
          borrows: true,
          fits: (size) => {
            if (size > LARGE || this.#underWay + size - held > UNDER_WAY) return false;
            this.#underWay += size - held;
            held = size;
            return true;
          },
          whole: (bytes) => this.#take(checksum, bytes),
          open: () => {
            const file = open();
            file?.clear();
            return file ?? importer.archiveSink(checksum);
          },
          kept: () => {
            const file = this.#journal?.hasPart(checksum) ? open() : undefined;
            return file?.kept ? { sink: file, received: file.size } : undefined;
          },
        }, this.#controller.signal);
        if (!(result instanceof PartFile)) {
          if (result !== undefined) this.#arrived([result]);
          break;
        }
        const file = await this.#importPart(checksum, result);
        if (file === undefined) continue;
        this.#arrived([file]);
        break;
      }
      part?.remove();
    } finally {
      this.#underWay -= held;
      part?.close();
    }
  }

  /** Imports a large object; undefined when what was kept of it spoils it, and is thrown away. */
  async #importPart(checksum: Checksum, part: PartFile): Promise<ImportedFile | undefined> {
    const { target } = this.#options;
    const task: PartTask = { checksum, fd: part.fd.number, size: part.size, target };
    const small = part.size <= SMALL_PART;
    const pool = small && !this.#worthWorkers ? undefined : this.#workers();
    try {
      if (pool === undefined) return importPart(task);
      const handler = small ? "import-part" : "import-large";
      const imported = pool.run<ImportedFile>(handler, task);
      this.#help(pool);
      return await imported;
    } catch (error) {
      const spoilt = error instanceof FormatError || error instanceof DigestMismatchError;
      if (!spoilt || !part.kept) throw error;
      part.clear();
      return undefined;
    }
  }

  get #worthWorkers(): boolean {
    return this.#pool !== undefined || this.#fetched >= WORTH_WORKERS.objects ||
      this.#fetchedBytes >= WORTH_WORKERS.bytes;
  }

  /** The workers; undefined where this thread is as good. */
  #workers(): Pool | undefined {
    const size = navigator.hardwareConcurrency - 1;
    if (size < 1) return undefined;
    const module = new URL("./import_worker.ts", import.meta.url);
    return this.#pool ??= new Pool(module, { size, depth: DEPTH });
  }

  /** Does a task that no worker has room for, but none that takes long: servers do not wait. */
  #help(pool: Pool): boolean {
    return pool.steal(importFetched, "import-fetched") || pool.steal(importPart, "import-part");
  }

  /** Puts an object into the batch. */
  #take(checksum: Checksum, bytes: Uint8Array): undefined {
    this.#fetched++;
    this.#fetchedBytes += bytes.length;
    if (!this.#worthWorkers || this.#workers() === undefined) {
      // Nobody to hand it to, so nothing to wait for.
      this.#arrived([importerFor(this.#options.target).archive(checksum, bytes)]);
      return;
    }
    if (this.#batch?.add(checksum, bytes) !== true) {
      this.#send();
      this.#batch = new FetchedBatch(this.#buffers.pop(), bytes.length);
      this.#batch.add(checksum, bytes);
    }
    if (this.#batch.full) this.#send();
  }

  /** Has the batch imported: by a worker that has little to do, or else right here. */
  #send(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (batch === undefined) return;
    const task = batch.task(this.#options.target);
    const pool = this.#workers()!;
    const importing: Promise<void> = pool
      .run<FetchedResult>("import-fetched", task, { transfer: [task.data.buffer] })
      .then((result) => this.#receive(task, result))
      .catch((error) => this.#fail(error))
      .finally(() => this.#importing.delete(importing));
    this.#importing.add(importing);
    this.#help(pool);
  }

  #receive({ checksums }: FetchedTask, result: FetchedResult): void {
    this.#buffers.push(result.buffer);
    this.#arrived([...unpackBatch(checksums, result)]);
  }

  #arrived(files: readonly ImportedFile[]): void {
    this.#journal?.addAll(
      files.map(({ checksum, data, object }) => [checksum, { data, object: object?.id }] as const),
    );
    for (const file of files) this.#options.arrived(file);
  }

  /** Takes what an earlier pull brought; it is checked as if it came from a repository. */
  #fromJournal(checksum: Checksum): boolean {
    const entry = this.#journal?.get(checksum);
    if (entry === undefined) return false;
    const importer = importerFor(this.#options.target);
    let file: ImportedFile;
    try {
      const end = FRAME_SIZE + parseFrame(entry.data);
      const header = parseArchiveHeader(entry.data.subarray(FRAME_SIZE, end));
      if (entry.object === undefined) {
        file = importer.bytes(checksum, header, entry.data.subarray(end));
      } else {
        const { dir } = this.#options.target.objects;
        const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
        using fd = openIfExists(dir, objectPath(entry.object), { flags });
        if (fd === undefined || fstat(fd).size !== header.size) return false;
        file = importer.plainFile(checksum, header, fd);
      }
    } catch (error) {
      // What is not intact any more is fetched.
      if (error instanceof ComposefsError) return false;
      throw error;
    }
    this.#options.arrived(file);
    return true;
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#controller.abort(error);
    const waiting = this.#room;
    this.#room = [];
    for (const resolve of waiting) resolve();
  }

  #check(): void {
    this.#options.signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Gives up what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.signal?.removeEventListener("abort", this.#aborted);
    if (this.#running.size > 0) this.#fail(new ComposefsError("CFS_FAILED", "Pull was given up"));
    await Promise.allSettled(this.#running);
    try {
      // The next pull takes from the journal what has come although this one failed.
      if (this.#journal !== undefined) await this.#finishImports();
    } catch (error) {
      // Only what came is lost by this; the pull's own failure is what is told.
      if (!(error instanceof ComposefsError)) throw error;
    }
    await this.#pool?.close();
    dropImporter();
  }
}
