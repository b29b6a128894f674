/** A local OSTree repository of any mode, for reading (spec: ostree 3). */
import { resolve as resolvePath } from "node:path/posix";
import {
  ComposefsError,
  FormatError,
  NotFoundError,
  UnsupportedError,
  withContext,
} from "../base/mod.ts";
import {
  AT_FDCWD,
  DT,
  type Fd,
  fstat,
  isErrno,
  O,
  openAt2,
  openDir,
  preadFull,
  readDir,
  RESOLVE,
  S_IF,
  statAt,
} from "../../ffi/mod.ts";
import { type Checksum, isChecksum, parseChecksum } from "./checksum.ts";
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
import { checkRef, isCommitPrefix, parseRevision } from "./ref_names.ts";
import type { FileImport, ImportOptions, OstreeSource, ResolvedRef } from "./source.ts";

const MAX_CONFIG = 64 * 1024;
const MAX_REF = 4096;
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
    const found = this.#readRef(name);
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

  #readRef(name: string): Checksum | undefined {
    const remote = /^([\w\d][-._\w\d]*):(.*)$/.exec(name);
    checkRef(remote === null ? name : remote[2]!);
    const paths = remote === null
      ? [`refs/${name}`, `refs/heads/${name}`]
      : [`refs/remotes/${remote[1]}/${remote[2]}`];
    for (const path of paths) {
      const text = readSmall(this.#root, path, MAX_REF);
      if (text !== undefined) return parseChecksum(text.trim());
    }
    return undefined;
  }

  /** All refs below `refs/heads` by their names, the others as `REMOTE:REF` or paths, sorted. */
  listRefs(): CommitTag[] {
    const out: CommitTag[] = [];
    const pending = ["refs"];
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      for (const { name, type } of this.#entries(path)) {
        const below = `${path}/${name}`;
        if (type === DT.DIR) pending.push(below);
        if (type === DT.DIR || name.startsWith(".")) continue;
        const text = readSmall(this.#root, below, MAX_REF)?.trim();
        if (text !== undefined && isChecksum(text)) {
          out.push({ name: refName(below), commit: text });
        }
      }
    }
    return out.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  }

  #entries(path: string): readonly { name: string; type: number }[] {
    try {
      const flags = O.RDONLY | O.DIRECTORY;
      using fd = openAt2(this.#root, path, { flags, resolve: RESOLVE.BENEATH });
      return readDir(fd);
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) return [];
      throw error;
    }
  }

  #commitsByPrefix(prefix: string): Checksum[] {
    const out = new Set<Checksum>();
    const suffix = ".commit";
    const dirs = prefix.length >= 2
      ? [prefix.slice(0, 2)]
      : Array.from({ length: 16 }, (_, i) => prefix + i.toString(16));
    for (const dir of dirs) {
      let names;
      try {
        using fd = openDir(this.#objects, dir);
        names = readDir(fd);
      } catch (error) {
        if (isErrno(error, "ENOENT", "ENOTDIR")) continue;
        throw error;
      }
      for (const { name } of names) {
        const id = dir + name.slice(0, -suffix.length);
        if (name.endsWith(suffix) && id.startsWith(prefix) && isChecksum(id)) out.add(id);
      }
    }
    const parent = this.#parent;
    if (parent !== undefined) {
      for (const commit of parent.#commitsByPrefix(prefix)) out.add(commit);
    }
    return [...out];
  }

  checkCommit(commit: Checksum): Promise<void> {
    return settled(() => this.checkCommitNow(commit));
  }

  /** Synchronous form of {@linkcode LocalRepository.checkCommit}. */
  checkCommitNow(commit: Checksum): void {
    const own: ObjectsPlace = { dir: this.#objects.number, mode: this.mode };
    using found = openObject(own, commit, "commit");
    if (found === undefined) {
      if (this.#parent !== undefined) return this.#parent.checkCommitNow(commit);
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

/** A small text file below a directory, never outside of it; `undefined` when it is not there. */
function readSmall(root: Fd, path: string, limit: number): string | undefined {
  let fd: Fd;
  try {
    fd = openAt2(root, path, { flags: O.RDONLY | O.NONBLOCK, resolve: RESOLVE.BENEATH });
  } catch (error) {
    // What leads out of the repository, or nowhere, is none of its files.
    if (isErrno(error, "ENOENT", "ENOTDIR", "ENAMETOOLONG", "EXDEV", "ELOOP")) return undefined;
    throw error;
  }
  using _fd = fd;
  const stat = fstat(fd);
  if ((stat.mode & S_IF.MT) === S_IF.DIR) return undefined;
  if (stat.size > limit) throw new FormatError("ostree repository", `${path} is too large`);
  const bytes = new Uint8Array(Math.max(limit, 128));
  return new TextDecoder().decode(bytes.subarray(0, preadFull(fd, bytes, 0)));
}

/** The name of a ref as users write it, by its path. */
function refName(path: string): string {
  const local = /^refs\/heads\/(.*)$/.exec(path);
  if (local !== null) return local[1]!;
  const remote = /^refs\/remotes\/([^/]+)\/(.*)$/.exec(path);
  return remote === null ? path.slice("refs/".length) : `${remote[1]}:${remote[2]}`;
}

/** The promise of a synchronous computation. */
function settled<T>(compute: () => T): Promise<T> {
  return new Promise((resolve) => resolve(compute()));
}
