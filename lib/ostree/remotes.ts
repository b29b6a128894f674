/** The remotes that a composefs repository knows, with their keys (spec: ostree 8.5, 9.2). */
import { ConflictError, withContext } from "../base/mod.ts";
import {
  type Fd,
  flock,
  fsync,
  isErrno,
  O,
  openAt,
  openDir,
  openOrMakeDir,
  renameAt,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import { readKeyFile } from "../signature/mod.ts";
import { type Keyfile, parseKeyfile } from "./keyfile.ts";
import { formatKeyfile } from "./keyfile_write.ts";
import { checkRemoteName, Remote, remoteGroup } from "./remote.ts";

/** Directory in the composefs repository. */
export const REMOTES_DIRECTORY = "ostree-remotes";

const CONFIG = "config";
const TEMPORARY = ".new";

/** How a remote is added. */
export interface AddRemoteOptions {
  /** Replace one of the same name, with its keyring. @default false */
  force?: boolean;
  /** GPG keys, as exported, binary or armored; nothing else is trusted for the remote then. */
  keyring?: Uint8Array;
}

/** Name of the file with the GPG keys of a remote. */
export function keyringName(remote: string): string {
  checkRemoteName(remote);
  return `${remote}.trustedkeys.gpg`;
}

/** The remotes of a repository: `config` with a group each, and `NAME.trustedkeys.gpg`. */
export class RemoteStore {
  readonly #repository: Fd;

  /**
   * The remotes of a repository; nothing is made before one is added.
   *
   * @param repository its directory; not closed by this
   */
  constructor(repository: Fd) {
    this.#repository = repository;
  }

  /**
   * The config, for {@linkcode Remote.fromKeyfile}.
   *
   * @throws {FormatError} when it is malformed
   */
  config(): Keyfile {
    using dir = this.#open();
    return dir === undefined ? new Map() : readConfig(dir);
  }

  /**
   * All remotes, sorted by name.
   *
   * @throws {FormatError} when the config is malformed
   */
  list(): Remote[] {
    const config = this.config();
    return [...config.keys()].map(remoteOfGroup).filter((name) => name !== undefined)
      .sort((a, b) => a < b ? -1 : 1).map((name) => Remote.fromKeyfile(config, name));
  }

  /** Whether there is a remote of that name. */
  has(name: string): boolean {
    return this.config().has(remoteGroup(name));
  }

  /**
   * A remote by name.
   *
   * @throws {NotFoundError} when there is none
   * @throws {FormatError} when the config is malformed
   */
  get(name: string): Remote {
    return Remote.fromKeyfile(this.config(), name);
  }

  /** The remote's own GPG keys; `undefined` when it has none. */
  keyring(name: string): Uint8Array | undefined {
    const file = keyringName(name);
    using dir = this.#open();
    return dir === undefined ? undefined : readKeyFile(file, dir);
  }

  /**
   * Adds a remote, durable when this returns.
   *
   * @throws {ConflictError} when there is one of that name and it is not to be replaced
   * @throws {FormatError} when an option is not understood
   */
  add(remote: Remote, options: AddRemoteOptions = {}): void {
    remote.check();
    using dir = openOrMakeDir(this.#repository, REMOTES_DIRECTORY);
    flock(dir, "exclusive");
    const config = new Map(readConfig(dir));
    const group = remoteGroup(remote.name);
    if (config.has(group) && !options.force) {
      throw new ConflictError(`Remote configuration for "${remote.name}" already exists`);
    }
    config.set(group, remote.options);
    // The keys first: the remote must never be there without them.
    const file = keyringName(remote.name);
    if (options.keyring !== undefined) replaceFile(dir, file, options.keyring);
    else unlinkAt(dir, file);
    writeConfig(dir, config);
    fsync(this.#repository);
  }

  /**
   * Removes a remote with its keyring.
   *
   * @throws {NotFoundError} when there is none
   */
  delete(name: string): void {
    checkRemoteName(name);
    using dir = this.#open();
    if (dir !== undefined) flock(dir, "exclusive");
    const config = new Map(dir === undefined ? [] : readConfig(dir));
    Remote.fromKeyfile(config, name);
    if (dir === undefined) return;
    config.delete(remoteGroup(name));
    writeConfig(dir, config);
    unlinkAt(dir, keyringName(name));
    fsync(dir);
  }

  #open(): Fd | undefined {
    try {
      return openDir(this.#repository, REMOTES_DIRECTORY);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}

/** Name of the remote that a group describes; `undefined` for other groups. */
function remoteOfGroup(group: string): string | undefined {
  return /^remote "(.*)"$/.exec(group)?.[1];
}

function readConfig(dir: Fd): Keyfile {
  const bytes = readKeyFile(CONFIG, dir);
  if (bytes === undefined) return new Map();
  try {
    return parseKeyfile(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw withContext(`Reading ${REMOTES_DIRECTORY}/${CONFIG}`, cause);
  }
}

function writeConfig(dir: Fd, config: Keyfile): void {
  replaceFile(dir, CONFIG, new TextEncoder().encode(formatKeyfile(config)));
}

/** Replaces a file as a whole; the directory's lock keeps others from the temporary name. */
function replaceFile(dir: Fd, name: string, bytes: Uint8Array): void {
  unlinkAt(dir, TEMPORARY);
  using file = openAt(dir, TEMPORARY, { flags: O.CREAT | O.EXCL | O.WRONLY | O.NOFOLLOW });
  try {
    // Small arrays may be moved while the kernel reads them; a piece of a larger buffer is not.
    const pinned = new Uint8Array(Math.max(4096, bytes.length)).subarray(0, bytes.length);
    pinned.set(bytes);
    writeAll(file, pinned, name);
    fsync(file);
    renameAt(dir, TEMPORARY, dir, name);
  } catch (error) {
    unlinkAt(dir, TEMPORARY);
    throw error;
  }
  fsync(dir);
}
