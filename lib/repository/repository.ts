/** A composefs repository: opening it and everything it can do. */
import {
  type Algorithm,
  ALGORITHMS,
  ConflictError,
  type HashName,
  NotFoundError,
  type ObjectId,
  PolicyError,
  withContext,
} from "../base/mod.ts";
import type { ErofsImage, ErofsVersion } from "../erofs/mod.ts";
import type { Splitstream, SplitstreamWriter } from "../splitstream/mod.ts";
import { objectIdOf } from "../fsverity/mod.ts";
import {
  AT_FDCWD,
  checkWritable,
  type Fd,
  flock,
  fstatfs,
  isErrno,
  openDir,
  statAt,
  systemHash,
  tryFlock,
} from "../../ffi/mod.ts";
import { assertWritable, type RepositoryState, syncRepository } from "./_state.ts";
import { Downloads, heldDownload } from "./downloads.ts";
import { listEntries } from "./entries.ts";
import {
  type DamageFindings,
  type KnownDamage,
  noteDamage,
  readDamageList,
} from "./damage_list.ts";
import { checkRepository, type FsckOptions } from "./fsck.ts";
import type { FsckReport } from "./fsck_report.ts";
import { collectGarbage, collectGarbageInTurns, type GcOptions, type GcResult } from "./gc.ts";
import * as images from "./images.ts";
import { adoptMetadata, inferMetadata } from "./init.ts";
import { effectiveFormats, type Metadata } from "./meta.ts";
import { type MetadataFile, readMetadataFile } from "./meta_file.ts";
import { DiskObjectStore } from "./objects.ts";
import { type Category, listRefs, type Ref, removeRef, resolveRef, setRef } from "./refs.ts";
import * as streams from "./streams.ts";

/** How to open a repository. */
export interface OpenRepositoryOptions {
  /** Fail unless the repository has this hash function. */
  hash?: HashName;
  /** Treat a secure repository as an insecure one for this run. @default false */
  insecure?: boolean;
  /** Fail unless fs-verity is required. @default false */
  requireVerity?: boolean;
  /** Do not write metadata for a repository that has none. @default false */
  noUpgrade?: boolean;
  /** Fail instead of waiting while somebody collects garbage. @default false */
  noWait?: boolean;
  /** Write images in this format only, for this run. */
  erofsVersion?: ErofsVersion;
  /** Told about decisions and repairs. */
  notice?: (text: string) => void;
}

/**
 * An open repository; holds a shared lock on its directory until it is disposed of.
 *
 * Operations are synchronous unless they hash a lot; all of them throw `ComposefsError`s.
 */
export class Repository implements Disposable {
  readonly #state: RepositoryState;

  private constructor(state: RepositoryState) {
    this.#state = state;
  }

  /**
   * Opens a repository. One from before `meta.json` existed gets one, unless that is ruled out.
   *
   * @throws {NotFoundError} when there is no repository
   * @throws {ConflictError} when it has another hash function than asked for, or is locked
   * @throws {PolicyError} when fs-verity is asked for and the repository does without
   */
  static open(path: string, options: OpenRepositoryOptions = {}): Repository {
    const notice = options.notice ?? (() => {});
    let root: Fd;
    try {
      root = openDir(AT_FDCWD, path);
    } catch (cause) {
      throw withContext(`opening repository ${path}`, cause, { detail: "repository-unopened" });
    }
    try {
      lock(root, path, options.noWait ?? false);
      const found = readMetadataFile(root);
      const file = found ?? adopt(root, { path, noUpgrade: options.noUpgrade ?? false, notice });
      checkOptions(file, options);
      const secure = file.secure && !(options.insecure ?? false);
      const { algorithm } = file.meta;
      return new Repository({
        path,
        root,
        meta: file.meta,
        hasMetadata: statAt(root, "meta.json") !== undefined,
        algorithm,
        secure,
        formats: options.erofsVersion === undefined
          ? effectiveFormats(file.meta)
          : [options.erofsVersion],
        objects: new DiskObjectStore(root, { algorithm, secure }),
        notice,
      });
    } catch (error) {
      root.close();
      throw error;
    }
  }

  /** Path as given to {@linkcode Repository.open}. */
  get path(): string {
    return this.#state.path;
  }

  /** fs-verity algorithm of all objects. */
  get algorithm(): Algorithm {
    return this.#state.algorithm;
  }

  /** Whether every object must have fs-verity enabled. */
  get secure(): boolean {
    return this.#state.secure;
  }

  /** Content of `meta.json`. */
  get metadata(): Metadata {
    return this.#state.meta;
  }

  /** EROFS formats that images are written in, the default first. */
  get formats(): readonly ErofsVersion[] {
    return this.#state.formats;
  }

  /** The objects. */
  get objects(): DiskObjectStore {
    return this.#state.objects;
  }

  /** Descriptor of the repository directory, which carries the lock; not the caller's to close. */
  get directory(): Fd {
    return this.#state.root;
  }

  /** Bytes that can still be written to the file system. */
  get available(): number {
    return fstatfs(this.#state.root).available;
  }

  /**
   * Checks that the repository can be written to.
   *
   * @throws {PolicyError} with the reason
   */
  assertWritable(): void {
    assertWritable(this.#state);
  }

  /** Makes everything written so far durable. */
  sync(): void {
    syncRepository(this.#state);
  }

  /** The id that content would have in this repository. */
  idOf(bytes: Uint8Array): ObjectId {
    return objectIdOf(bytes, { algorithm: this.#state.algorithm, provider: systemHash() });
  }

  /** Object of a stream by content id or `refs/…`; `undefined` when it is not there. */
  streamObject(name: string): ObjectId | undefined {
    return streams.streamObject(this.#state, name);
  }

  /** Opens a stream by content id or `refs/…`; see {@linkcode streams.openStream}. */
  openStream(name: string, options: { contentType?: bigint } = {}): streams.OpenStream {
    return streams.openStream(this.#state, name, options);
  }

  /** Opens the stream whose splitstream file is object `id`. */
  openStreamObject(id: ObjectId, options: { contentType?: bigint } = {}): streams.OpenStream {
    return streams.openStreamObject(this.#state, id, options);
  }

  /** A writer for a new splitstream of this repository. */
  newStream(contentType: bigint): SplitstreamWriter {
    return streams.newStream(this.#state, contentType);
  }

  /**
   * Stores a finished splitstream under its content id, durable before it has its name.
   *
   * @param options.ref reference to make, below `streams/refs`
   * @returns object id of the splitstream file
   */
  writeStream(name: string, bytes: Uint8Array, options: { ref?: string } = {}): ObjectId {
    return streams.writeStream(this.#state, name, { bytes, ...options });
  }

  /** Names a splitstream that is stored and durable ({@linkcode Repository.sync}) already. */
  linkStream(name: string, id: ObjectId, options: { ref?: string } = {}): void {
    assertWritable(this.#state);
    streams.linkStream(this.#state, name, { id, ...options });
  }

  /** The reassembled content of a stream; pieces are valid until the next one is asked for. */
  streamContent(
    stream: Splitstream,
    options: streams.StreamContentOptions = {},
  ): Generator<Uint8Array, void, undefined> {
    return streams.streamContent(this.#state, stream, options);
  }

  /** Content ids of all streams, sorted. */
  listStreams(): string[] {
    return listEntries(this.#state.root, "streams").map((entry) => entry.name);
  }

  /** All named images, sorted by name. */
  listImages(): images.ImageRef[] {
    return images.listImages(this.#state);
  }

  /**
   * Finds an image by digest (bare, `sha256:…`, `@sha256:…`), by `refs/…` or by a flat name.
   *
   * @throws {NotFoundError} `image not found: NAME`
   */
  findImage(name: string): ObjectId {
    return images.findImage(this.#state, name);
  }

  /** Opens and validates an image by its object id. */
  readImage(id: ObjectId): ErofsImage {
    return images.readImage(this.#state, id);
  }

  /** Whether an image has its entry and its object. */
  hasImage(id: ObjectId): boolean {
    return statAt(this.#state.root, `images/${id}`) !== undefined &&
      this.#state.objects.size(id) !== undefined;
  }

  /** The objects that an image needs, sorted. */
  imageObjects(name: string): ObjectId[] {
    return images.imageObjects(this.#state, name);
  }

  /**
   * Stores an image, durable before it has its name.
   *
   * @param options.name name to make below `images/refs`
   * @param options.force store bytes that are no composefs image
   * @returns the image's id
   */
  writeImage(bytes: Uint8Array, options: { name?: string; force?: boolean } = {}): ObjectId {
    return images.writeImageObject(this.#state, bytes, options);
  }

  /** Makes the entry of an image that is stored and durable ({@linkcode Repository.sync}) already. */
  linkImage(id: ObjectId): void {
    assertWritable(this.#state);
    images.linkImage(this.#state, id);
  }

  /**
   * All references of a category, sorted by name.
   *
   * @param below directory of references to which the list is limited; it may be missing
   */
  listRefs(category: Category, below?: string): Ref[] {
    return listRefs(this.#state, category, below);
  }

  /** Entry that a reference leads to; `undefined` when there is no such reference. */
  resolveRef(category: Category, name: string): string | undefined {
    return resolveRef(this.#state, category, name);
  }

  /** Makes a reference lead to an entry that is there. */
  setRef(category: Category, name: string, options: { entry: string }): void {
    setRef(this.#state, category, { name, entry: options.entry });
  }

  /** Removes a reference; false when it was not there. */
  removeRef(category: Category, name: string): boolean {
    return removeRef(this.#state, category, name);
  }

  /** Removes everything that no reference leads to; see {@linkcode collectGarbage}. */
  gc(options: GcOptions = {}): GcResult {
    return collectGarbage(this.#state, options);
  }

  /**
   * As {@linkcode Repository.gc}, but timers and signals get their turns, so that progress can be
   * shown. Nothing else may be done with the repository meanwhile.
   */
  gcInTurns(options: GcOptions = {}): Promise<GcResult> {
    return collectGarbageInTurns(this.#state, options);
  }

  /** The unfinished downloads; the caller closes them. */
  openDownloads(): Downloads {
    assertWritable(this.#state);
    return new Downloads(this.#state.root);
  }

  /** Bytes that an unfinished download has left; 0 when there is none. */
  heldDownload(name: string): number {
    return heldDownload(this.#state, name);
  }

  /**
   * The objects that somebody has found damaged; `undefined` when nobody has, which takes no more
   * than an attempt to open a file.
   */
  knownDamage(): KnownDamage | undefined {
    return readDamageList(this.#state.root, this.#state.algorithm);
  }

  /**
   * Writes down which objects were found damaged, and which sound.
   *
   * @throws {ComposefsError} when that cannot be written
   */
  noteDamage(findings: DamageFindings): void {
    noteDamage(this.#state, findings);
  }

  /** Checks the repository; writes at most the list of {@linkcode Repository.knownDamage}. */
  fsck(options: FsckOptions = {}): Promise<FsckReport> {
    return checkRepository(this.#state, options);
  }

  /** Closes the repository and gives its lock back. */
  [Symbol.dispose](): void {
    this.#state.objects[Symbol.dispose]();
    this.#state.root.close();
  }
}

function lock(root: Fd, path: string, noWait: boolean): void {
  if (!noWait) flock(root, "shared");
  else if (!tryFlock(root, "shared")) throw new ConflictError(`repository ${path} is locked`);
}

/** Finds the settings of a repository without `meta.json`, and writes them down where possible. */
function adopt(
  root: Fd,
  options: { path: string; noUpgrade: boolean; notice: (text: string) => void },
): MetadataFile {
  const { path, notice } = options;
  if (options.noUpgrade) {
    throw new NotFoundError("meta.json", path, {
      message:
        `meta.json not found in ${path}; this repository must be initialized with \`cfs init\``,
    });
  }
  const inferred = inferMetadata(root, path);
  const { id } = inferred.meta.algorithm;
  if (!isWritable(root)) {
    notice(`${path} has no meta.json; taken for a repository with ${id}, EROFS format 1`);
    return inferred;
  }
  const adopted = adoptMetadata(root, inferred);
  if (adopted === inferred) notice(`${path} had no meta.json; written for ${id}, EROFS format 1`);
  return adopted;
}

function isWritable(root: Fd): boolean {
  if (fstatfs(root).readOnly) return false;
  try {
    checkWritable(root);
    return true;
  } catch (error) {
    if (isErrno(error, "EACCES", "EPERM", "EROFS")) return false;
    throw error;
  }
}

function checkOptions(file: MetadataFile, options: OpenRepositoryOptions): void {
  const { algorithm } = file.meta;
  if (options.hash !== undefined && ALGORITHMS[options.hash].id !== algorithm.id) {
    throw new ConflictError(
      `repository is configured for ${algorithm.id} (from meta.json) but --hash ${options.hash} was specified`,
    );
  }
  if (options.requireVerity && !file.secure) {
    throw new PolicyError("repository was not initialized with fs-verity", {
      detail: "repository-without-verity",
    });
  }
}
