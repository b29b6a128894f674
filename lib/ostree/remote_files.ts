/** Imports files of a remote repository, several requests at a time (spec: ostree 8.5). */
import { objectPath } from "../base/mod.ts";
import { fstat, O, openIfExists } from "../../ffi/mod.ts";
import type { BodyReceiver } from "../http/mod.ts";
import type { Checksum } from "./checksum.ts";
import { ContentImporter } from "./content_import.ts";
import { FRAME_SIZE, parseArchiveHeader, parseFrame } from "./file_header.ts";
import type { PullJournal } from "./pull_journal.ts";
import type { FileImport, ImportedFile, ImportOptions } from "./source.ts";
import { ComposefsError } from "../base/mod.ts";

/** Fetches the archive form of a file object. */
export type FetchFile = <T>(
  checksum: Checksum,
  receiver: BodyReceiver<T>,
  signal: AbortSignal,
) => Promise<T>;

/** Imports files of a remote repository. */
export class RemoteFiles implements FileImport {
  readonly #fetch: FetchFile;
  readonly #options: ImportOptions;
  readonly #jobs: number;
  readonly #journal: PullJournal | undefined;
  readonly #importer: ContentImporter;
  readonly #controller = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #room: (() => void)[] = [];
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
    this.#importer = new ContentImporter(options.target);
    options.signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  async add(checksum: Checksum): Promise<void> {
    this.#check();
    if (this.#fromJournal(checksum)) return;
    while (this.#running.size >= this.#jobs) {
      await new Promise<void>((resolve) => this.#room.push(resolve));
      this.#check();
    }
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
  }

  async #download(checksum: Checksum): Promise<void> {
    const importer = this.#importer;
    const file = await this.#fetch(checksum, {
      whole: (bytes) => importer.archive(checksum, bytes),
      open: () => importer.archiveSink(checksum),
    }, this.#controller.signal);
    this.#journal?.add(checksum, { data: file.data, object: file.object?.id });
    this.#options.arrived(file);
  }

  /** Takes what an earlier pull brought; it is checked as if it came from a repository. */
  #fromJournal(checksum: Checksum): boolean {
    const entry = this.#journal?.get(checksum);
    if (entry === undefined) return false;
    let file: ImportedFile;
    try {
      const end = FRAME_SIZE + parseFrame(entry.data);
      const header = parseArchiveHeader(entry.data.subarray(FRAME_SIZE, end));
      if (entry.object === undefined) {
        file = this.#importer.bytes(checksum, header, entry.data.subarray(end));
      } else {
        const { dir } = this.#options.target.objects;
        const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
        using fd = openIfExists(dir, objectPath(entry.object), { flags });
        if (fd === undefined || fstat(fd).size !== header.size) return false;
        file = this.#importer.plainFile(checksum, header, fd);
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
    this.#importer[Symbol.dispose]();
  }
}
