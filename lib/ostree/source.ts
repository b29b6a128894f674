/** Where a pull gets objects from (spec: ostree 6). */
import type { Algorithm } from "../base/mod.ts";
import type { ObjectDirectoryOptions, StoreOutcome } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import type { MetadataKind } from "./object_kind.ts";
import type { ObjectId } from "../base/mod.ts";

/** A file object that was checked against its checksum and stored. */
export interface ImportedFile {
  /** Its checksum. */
  readonly checksum: Checksum;
  /** The framed archive header, followed by the content when that is inline. */
  readonly data: Uint8Array;
  /** The object with the content; `undefined` when it is inline. */
  readonly object: ImportedObject | undefined;
}

/** An object that holds the content of a file. */
export interface ImportedObject {
  /** Its id. */
  readonly id: ObjectId;
  /** Size in bytes. */
  readonly size: number;
  /** Whether it was there before. */
  readonly outcome: StoreOutcome;
  /** Whether its blocks are shared with the source. */
  readonly cloned: boolean;
}

/** Where imported files go; plain data, so that it can be sent to a worker. */
export interface ImportTarget {
  /** The objects of the repository. */
  readonly objects: ObjectDirectoryOptions;
}

/** How files are imported. */
export interface ImportOptions {
  /** Where they go. */
  readonly target: ImportTarget;
  /** Threads (local) or requests at a time (remote). @default the source's choice */
  readonly jobs?: number;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
  /** Called for each file when it is stored. */
  readonly arrived: (file: ImportedFile) => void;
}

/** Imports file objects, several at a time. */
export interface FileImport extends AsyncDisposable {
  /** Asks for a file object; gives a promise to wait for while too many are under way. */
  add(checksum: Checksum): Promise<void> | undefined;
  /**
   * Waits until everything asked for has arrived.
   *
   * @throws the first failure
   */
  drain(): Promise<void>;
}

/** What a reference leads to. */
export interface ResolvedRef {
  /** The commit. */
  readonly commit: Checksum;
  /** Name of the ref, when it was one and not a commit's id. */
  readonly ref: string | undefined;
}

/** A repository that objects are pulled from: local, or on a server. */
export interface OstreeSource extends Disposable {
  /** What messages call it. */
  readonly location: string;
  /** Whether the refs of its commits should be bound to the name asked for. */
  readonly remote: boolean;
  /**
   * Finds a commit by ref or id.
   *
   * @throws {NotFoundError} when there is no such ref
   */
  resolve(reference: string): Promise<ResolvedRef>;
  /**
   * Checks that a commit is there as a whole, as far as the repository says so itself.
   *
   * @throws {ComposefsError} when it is partial or was deleted
   */
  checkCommit(commit: Checksum): Promise<void>;
  /**
   * A metadata object as stored; its checksum is the caller's to verify.
   *
   * @throws {NotFoundError} when it is not there
   */
  readMetadata(kind: MetadataKind, checksum: Checksum): Promise<Uint8Array>;
  /** Detached metadata (signatures) of a commit; `undefined` when it has none. */
  readDetached(commit: Checksum): Promise<Uint8Array | undefined>;
  /** Starts importing file objects. */
  importFiles(options: ImportOptions): FileImport;
}

/** Content of at most this many bytes stays in the commit's stream (spec: ostree 4.1). */
export function inlineLimit(algorithm: Algorithm): number {
  return 2 * algorithm.size;
}
