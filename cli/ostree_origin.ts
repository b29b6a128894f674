/** Where `ostree pull` gets commits from: a URL, a configured remote, or a directory by `file:`. */
import { dirname } from "node:path/posix";
import { fileURLToPath } from "node:url";
import { InvalidNameError, NotFoundError } from "../lib/base/mod.ts";
import {
  keyringName,
  LocalRepository,
  type OstreeSource,
  parseKeyfile,
  Remote,
  RemoteSource,
  type RemoteSourceOptions,
  RemoteStore,
} from "../lib/ostree/mod.ts";
import type { Repository } from "../lib/repository/mod.ts";
import { readKeyFile } from "../lib/signature/mod.ts";
import { UsageError } from "./errors.ts";
import { isServer, openServer, type ServerArguments } from "./ostree_server.ts";

/** The arguments that say where. */
export interface OriginArguments {
  /** An ostree config whose remotes are meant, in place of the repository's own. */
  remoteConfig?: string | undefined;
  /** Name of the remote whose options count for a URL. */
  remote?: string | undefined;
}

/** Where commits come from. */
export interface Origin {
  /** Its URL. */
  readonly url: string;
  /** The remote that it is. */
  readonly remote: Remote | undefined;
  /** The remote's own GPG keys. */
  readonly keyring: Uint8Array | undefined;
}

function isDirectory(url: string): boolean {
  return /^file:/i.test(url);
}

/**
 * Finds out what a URL or the name of a remote stands for.
 *
 * @param place What was given.
 * @param repository The repository that knows remotes.
 * @param options The arguments.
 * @throws {NotFoundError} when there is no such remote
 * @throws {FormatError} when its options are malformed
 */
export function findOrigin(
  place: string,
  repository: Repository,
  options: OriginArguments,
): Origin {
  const isUrl = isServer(place) || isDirectory(place);
  const { remoteConfig, remote: named } = options;
  if (named !== undefined && !isUrl && named !== place) {
    throw new UsageError("--remote names the remote whose options count for a URL");
  }
  const name = named ?? (isUrl ? undefined : place);
  if (name === undefined) {
    if (remoteConfig !== undefined) throw new UsageError("--remote-config needs --remote");
    return { url: place, remote: undefined, keyring: undefined };
  }
  const found = remoteConfig === undefined
    ? storedRemote(name, repository)
    : configuredRemote(name, remoteConfig);
  return { ...found, url: isUrl ? place : found.remote.url };
}

function storedRemote(name: string, repository: Repository) {
  const store = new RemoteStore(repository.directory);
  return { remote: store.get(name), keyring: store.keyring(name) };
}

/** A remote of an ostree config; its keyring is beside that, as in an ostree repository. */
function configuredRemote(name: string, path: string) {
  const bytes = readKeyFile(path);
  if (bytes === undefined) {
    throw new NotFoundError("config", path, { message: `No such config: ${path}` });
  }
  const remote = Remote.fromKeyfile(parseKeyfile(new TextDecoder().decode(bytes)), name);
  return { remote, keyring: readKeyFile(`${dirname(path)}/${keyringName(name)}`) };
}

/**
 * Opens it.
 *
 * @param origin What was found.
 * @param options How to talk to a server.
 * @throws {InvalidNameError} when the URL is of another kind
 */
export function openOrigin(
  origin: Origin,
  options: ServerArguments & { repository: Repository; more?: RemoteSourceOptions },
): OstreeSource {
  const { url, remote } = origin;
  return isDirectory(url)
    ? LocalRepository.open(directoryOf(url))
    : openServer(url, { ...options, remote });
}

function directoryOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof URIError)) throw error;
    throw new InvalidNameError(`Invalid file URL '${url.slice(0, 200)}'`);
  }
}

/**
 * All refs of a repository.
 *
 * @param source The repository.
 * @throws {NotFoundError} when it does not tell
 */
export async function allRefs(source: OstreeSource): Promise<string[]> {
  if (source instanceof LocalRepository) return source.listRefs().map(({ name }) => name);
  const summary = source instanceof RemoteSource ? await source.summary() : undefined;
  if (summary !== undefined) return summary.refs.map(({ name }) => name);
  const message = "no summary available from remote";
  throw new NotFoundError("summary", source.location, { message });
}
