/** What static deltas build upon and make, in a composefs repository (spec: ostree 7.4). */
import { FormatError } from "../base/mod.ts";
import { type Fd, preadFull } from "../../ffi/mod.ts";
import { healingWrites, type Repository } from "../repository/mod.ts";
import type { Bases } from "./bases.ts";
import type { Checksum } from "./checksum.ts";
import type { CommitBuilder } from "./commit_builder.ts";
import { fileEntry } from "./commit_tree.ts";
import { ContentImporter } from "./content_import.ts";
import type { ContentSink } from "./content_sink.ts";
import type { DeltaSource } from "./delta_patch.ts";
import type { DeltaBase, DeltaFileSink, DeltaSink } from "./delta_sink.ts";
import type { FileHeader } from "./file_header.ts";
import type { MetadataKind } from "./object_kind.ts";
import type { PullTask } from "./pull_task.ts";
import type { ImportedFile } from "./source.ts";

/** Bytes of a file that are gathered before they go anywhere. */
const GATHERED = 1024 * 1024;

/** Content of stored commits, read by position. */
class StoredContent implements DeltaSource {
  readonly size: number;
  readonly #content: Uint8Array | Fd;
  readonly #checksum: Checksum;

  constructor(checksum: Checksum, size: number, content: Uint8Array | Fd) {
    this.#checksum = checksum;
    this.size = size;
    this.#content = content;
  }

  read(into: Uint8Array, position: number): void {
    if (this.#content instanceof Uint8Array) {
      into.set(this.#content.subarray(position, position + into.length));
    } else if (preadFull(this.#content, into, position) !== into.length) {
      throw new FormatError("ostree file", `Object of file ${this.#checksum} is cut off`);
    }
  }

  [Symbol.dispose](): void {
    if (!(this.#content instanceof Uint8Array)) this.#content.close();
  }
}

/** The file objects of stored commits as what a delta builds upon. */
export class StoredBase implements DeltaBase {
  readonly #repository: Repository;
  readonly #bases: Bases;

  constructor(repository: Repository, bases: Bases) {
    this.#repository = repository;
    this.#bases = bases;
  }

  open(checksum: Checksum): DeltaSource | undefined {
    const entry = this.#bases.file(checksum);
    if (entry === undefined) return undefined;
    const { header, content, external } = fileEntry(checksum, entry);
    if (external === undefined) return new StoredContent(checksum, header.size, content);
    // What is made of it is checked, so its own digest need not be.
    return new StoredContent(checksum, header.size, this.#repository.objects.open(external).fd);
  }
}

/** Where a file goes that comes in pieces. */
interface Destination {
  /** Takes it in one piece. */
  readonly whole: (content: Uint8Array) => void;
  /** Starts it when it is too large for that. */
  readonly begin: () => ContentSink;
  /** Takes what that became. */
  readonly done: (file: ImportedFile) => void;
}

/** A file whose pieces, which may be of a few bytes each, are gathered first. */
class GatheredFile implements DeltaFileSink {
  readonly #buffer: Uint8Array;
  readonly #destination: Destination;
  #filled = 0;
  #sink: ContentSink | undefined;

  constructor(buffer: Uint8Array, destination: Destination) {
    this.#buffer = buffer;
    this.#destination = destination;
  }

  write(bytes: Uint8Array): void {
    if (this.#filled + bytes.length > this.#buffer.length) {
      this.#sink ??= this.#destination.begin();
      this.#flush(this.#sink);
      if (bytes.length > this.#buffer.length) return this.#sink.write(bytes);
    }
    this.#buffer.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  #flush(sink: ContentSink): void {
    if (this.#filled > 0) sink.write(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  finish(): void {
    if (this.#sink === undefined) {
      return this.#destination.whole(this.#buffer.subarray(0, this.#filled));
    }
    this.#flush(this.#sink);
    this.#destination.done(this.#sink.finish());
  }

  [Symbol.dispose](): void {
    this.#sink?.[Symbol.dispose]();
  }
}

/** Stores what a delta makes. */
export class StoringSink implements DeltaSink, Disposable {
  readonly #builder: CommitBuilder;
  readonly #importer: ContentImporter;
  #buffer: Uint8Array | undefined;

  constructor({ repository, builder }: PullTask) {
    this.#builder = builder;
    this.#importer = new ContentImporter({ objects: healingWrites(repository) });
  }

  metadata(kind: MetadataKind, checksum: Checksum, bytes: Uint8Array): void {
    this.#builder.addMetadata(kind, checksum, bytes.slice());
  }

  file(checksum: Checksum, header: FileHeader, content: Uint8Array): void {
    this.#builder.addFile(this.#importer.bytes(checksum, header, content));
  }

  open(checksum: Checksum, header: FileHeader): DeltaFileSink {
    // Deltas make one file after the other, so one buffer does for all.
    this.#buffer ??= new Uint8Array(GATHERED);
    return new GatheredFile(this.#buffer, {
      whole: (content) => this.file(checksum, header, content),
      begin: () => this.#importer.sink(checksum, header),
      done: (file) => this.#builder.addFile(file),
    });
  }

  [Symbol.dispose](): void {
    this.#importer[Symbol.dispose]();
  }
}
