/** A local OSTree repository of any mode, for reading (spec: ostree 3). */
import { resolve as resolvePath } from "node:path/posix";
import {
  ComposefsError,
  FormatError,
  NotFoundError,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import { AT_FDCWD, type Fd, openDir, statAt } from "../../ffi/mod.ts";
import { type Checksum, isChecksum } from "./checksum.ts";
import type { CommitTag } from "./commit_names.ts";
import { parseCommit } from "./commit_object.ts";
import { type Keyfile, parseKeyfile } from "./keyfile.ts";
import { LocalImport } from "./local_import.ts";
import {
  type ObjectsPlace,
  openObject,
  parseMode,
  readObject,
  type RepositoryMode,
} from "./local_objects.ts";
import type { MetadataKind } from "./object_kind.ts";
import { commitsByPrefix, LocalRefs } from "./local_refs.ts";
import { isCommitPrefix, parseRevision } from "./ref_names.ts";
import { readSmall } from "./small_file.ts";
import type { FileImport, ImportOptions, OstreeSource, ResolvedRef } from "./source.ts";

const MAX_CONFIG = 64 * 1024;
/** Longest chain of repositories by `core.parent`. */
const MAX_PARENTS = 16;

/** A local repository. */
export class LocalRepository implements OstreeSource {
  readonly location: string;
  readonly remote = false;
  /** How it keeps files. */
  readonly mode: RepositoryMode;
  /** Its config. */
  readonly config: Keyfile;
  readonly #root: Fd;
  readonly #objects: Fd;
  readonly #parent: LocalRepository | undefined;

  private constructor(location: string, options: {
    mode: RepositoryMode;
    config: Keyfile;
    root: Fd;
    objects: Fd;
    parent: LocalRepository | undefined;
  }) {
    this.location = location;
    this.mode = options.mode;
    this.config = options.config;
    this.#root = options.root;
    this.#objects = options.objects;
    this.#parent = options.parent;
  }

  /**
   * Opens a repository, and those that its config names as parents.
   *
   * @throws {NotFoundError} when there is none
   * @throws {UnsupportedError} for an unknown mode or version
   */
  static open(path: string, depth = 0): LocalRepository {
    if (depth > MAX_PARENTS) {
      throw new FormatError("ostree config", `More than ${MAX_PARENTS} parent repositories`);
    }
    try {
      return openRepository(path, depth, (location, parts) => new LocalRepository(location, parts));
    } catch (cause) {
      throw withContext(`Opening ostree repository ${path}`, cause);
    }
  }

  /** Descriptor of the repository's directory; not the caller's to close. */
  get directory(): Fd {
    return this.#root;
  }

  /** Where objects are: here, then in parent repositories. */
  get places(): ObjectsPlace[] {
    const own: ObjectsPlace = { dir: this.#objects.number, mode: this.mode };
    return [own, ...(this.#parent?.places ?? [])];
  }

  resolve(reference: string): Promise<ResolvedRef> {
    return settled(() => this.resolveNow(reference));
  }

  /** Synchronous form of {@linkcode LocalRepository.resolve}. */
  resolveNow(reference: string): ResolvedRef {
    const { name, parents } = parseRevision(reference);
    let found = this.#resolveName(name);
    for (let i = 0; i < parents; i++) {
      const { parent } = parseCommit(this.readMetadataNow("commit", found.commit));
      if (parent === undefined) {
        throw new NotFoundError("parent commit", found.commit, {
          message: `Commit ${found.commit} has no parent`,
        });
      }
      found = { commit: parent, ref: undefined };
    }
    return found;
  }

  #resolveName(name: string): ResolvedRef {
    if (isChecksum(name)) return { commit: name, ref: undefined };
    const found = new LocalRefs(this.#root).read(name);
    if (found !== undefined) return { commit: found, ref: name };
    if (isCommitPrefix(name)) {
      const matches = this.#commitsByPrefix(name);
      if (matches.length === 1) return { commit: matches[0]!, ref: undefined };
      if (matches.length > 1) {
        throw new FormatError(
          "ostree ref",
          `Refspec '${name}' not unique; it is the beginning of ${matches.length} commits`,
        );
      }
    }
    const message = `Refspec '${name}' not found in ${this.location}`;
    throw new NotFoundError("ostree ref", name, { message });
  }

  /** All refs below `refs/heads` by their names, the others as `REMOTE:REF` or paths, sorted. */
  listRefs(): CommitTag[] {
    return new LocalRefs(this.#root).list();
  }

  #commitsByPrefix(prefix: string): Checksum[] {
    const parent = this.#parent;
    const others = parent === undefined ? [] : parent.#commitsByPrefix(prefix);
    return [...new Set([...commitsByPrefix(this.#objects, prefix), ...others])];
  }

  checkCommit(commit: Checksum): Promise<void> {
    return settled(() => this.checkCommitNow(commit));
  }

  /** Synchronous form of {@linkcode LocalRepository.checkCommit}. */
  checkCommitNow(commit: Checksum): void {
    const own: ObjectsPlace = { dir: this.#objects.number, mode: this.mode };
    using found = openObject(own, commit, "commit");
    if (found === undefined) {
      const parent = this.#parent;
      if (parent !== undefined && parent.#hasCommit(commit)) return parent.checkCommitNow(commit);
      using tombstone = openObject(own, commit, "tombstone-commit");
      throw tombstone === undefined
        ? this.#missing("commit", commit)
        : new ComposefsError("CFS_NOT_FOUND", `commit ${commit} was deleted (tombstone)`);
    }
    const state = `state/${commit}.commitpartial`;
    if (statAt(this.#root, state) === undefined) return;
    const message = `commit ${commit} is partial in ${this.location} (${state})`;
    throw new ComposefsError("CFS_FAILED", message);
  }

  #hasCommit(commit: Checksum): boolean {
    return this.places.some((place) => {
      using found = openObject(place, commit, "commit");
      return found !== undefined;
    });
  }

  readMetadata(kind: MetadataKind, checksum: Checksum): Promise<Uint8Array> {
    return settled(() => this.readMetadataNow(kind, checksum));
  }

  /** Synchronous form of {@linkcode LocalRepository.readMetadata}. */
  readMetadataNow(kind: MetadataKind, checksum: Checksum): Uint8Array {
    for (const place of this.places) {
      const bytes = readObject(place, checksum, kind);
      if (bytes !== undefined) return bytes;
    }
    throw this.#missing(kind, checksum);
  }

  #missing(kind: string, checksum: Checksum): NotFoundError {
    const message = `No such ${kind} object ${checksum} in ${this.location}`;
    return new NotFoundError(`${kind} object`, checksum, { message });
  }

  readDetached(commit: Checksum): Promise<Uint8Array | undefined> {
    return settled(() => {
      for (const place of this.places) {
        const bytes = readObject(place, commit, "commitmeta");
        if (bytes !== undefined) return bytes;
      }
      return undefined;
    });
  }

  importFiles(options: ImportOptions): FileImport {
    return new LocalImport(this.places, options);
  }

  /** Closes the repository. */
  [Symbol.dispose](): void {
    this.#parent?.[Symbol.dispose]();
    this.#objects.close();
    this.#root.close();
  }
}

function openRepository(
  path: string,
  depth: number,
  create: (location: string, parts: {
    mode: RepositoryMode;
    config: Keyfile;
    root: Fd;
    objects: Fd;
    parent: LocalRepository | undefined;
  }) => LocalRepository,
): LocalRepository {
  const root = openDir(AT_FDCWD, path);
  let objects: Fd | undefined;
  try {
    const text = readSmall(root, "config", MAX_CONFIG);
    if (text === undefined) throw new NotFoundError("ostree repository", path);
    const config = parseKeyfile(text);
    const core = config.get("core");
    const version = core?.get("repo_version") ?? "1";
    if (version !== "1") throw new UnsupportedError(`Invalid repository version ${version}`);
    const mode = parseMode(core?.get("mode") ?? "bare");
    objects = openDir(root, "objects");
    const parentPath = core?.get("parent");
    const parent = parentPath === undefined || parentPath === ""
      ? undefined
      : LocalRepository.open(resolvePath(parentPath), depth + 1);
    return create(path, { mode, config, root, objects, parent });
  } catch (error) {
    objects?.close();
    root.close();
    throw error;
  }
}

/** The promise of a synchronous computation. */
function settled<T>(compute: () => T): Promise<T> {
  return new Promise((resolve) => resolve(compute()));
}
