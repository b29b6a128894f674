/** Options that say how an OSTree repository on a server is talked to, and what comes of them. */
import { ComposefsError, InvalidNameError } from "../lib/base/mod.ts";
import {
  type Remote,
  remoteClientOptions,
  REMOTES_DIRECTORY,
  RemoteSource,
  type RemoteSourceOptions,
  type RemoteTransport,
  repositorySummaryCache,
} from "../lib/ostree/mod.ts";
import type { Repository } from "../lib/repository/mod.ts";
import { VERSION } from "./version.ts";

/** The options, as they were given. */
export interface ServerArguments {
  /** Requests at a time. */
  jobs?: number | undefined;
  /** Subset of the refs. */
  subset?: string | undefined;
  /** Where the objects are. */
  contenturl?: string | undefined;
  /** Proxy to go through. */
  proxy?: string | undefined;
  /** Whether servers need not show a certificate that is trusted. */
  tlsPermissive?: boolean | undefined;
  /** File with certificates of authorities. */
  tlsCaPath?: string | undefined;
  /** File with the certificate to show. */
  tlsClientCertPath?: string | undefined;
  /** File with the key to the certificate. */
  tlsClientKeyPath?: string | undefined;
  /** File with cookies. */
  cookies?: string | undefined;
}

/** Whether an argument says where a server is. */
export function isServer(text: string): boolean {
  return /^(?:mirrorlist=|metalink=)?https?:/i.test(text);
}

/** A server, and what is there to talk to it besides the options that were given. */
export interface ServerContext {
  /** The configured remote, when it is one. */
  remote?: Remote | undefined;
  /** Keeps summaries, and the remotes' cookies. */
  repository?: Repository;
  /** What else the source is to know. */
  more?: RemoteSourceOptions;
}

/**
 * Prepares a repository on a server.
 *
 * @param url Its URL, `mirrorlist=URL` or `metalink=URL`.
 * @param options The options that were given, which go before those of the remote.
 */
export function openServer(url: string, options: ServerArguments & ServerContext): RemoteSource {
  const { jobs, subset, repository, remote } = options;
  if (!isServer(url)) throw new InvalidNameError("relative URL without a base");
  const contenturl = options.contenturl ?? remote?.contentUrl;
  const cookies = options.cookies ??
    (remote !== undefined && repository !== undefined
      ? `${repository.path}/${REMOTES_DIRECTORY}/${remote.name}.cookies.txt`
      : undefined);
  const given: Readonly<Record<string, string | undefined>> = {
    "proxy": options.proxy,
    "tls-ca-path": options.tlsCaPath,
    "tls-client-cert-path": options.tlsClientCertPath,
    "tls-client-key-path": options.tlsClientKeyPath,
  };
  const transport: RemoteTransport = {
    name: remote?.name ?? url,
    text: (option) => given[option] ?? remote?.text(option),
    flag: (option) =>
      option === "tls-permissive" && options.tlsPermissive ? true : remote?.flag(option),
  };
  return new RemoteSource(url, {
    ...remoteClientOptions(transport, readText, cookies === undefined ? {} : { cookies }),
    userAgent: `cfs/${VERSION}`,
    ...(jobs === undefined ? {} : { requests: jobs }),
    ...(subset === undefined ? {} : { subset }),
    ...(contenturl === undefined ? {} : { contentUrl: contenturl }),
    ...(repository === undefined ? {} : { cache: repositorySummaryCache(repository) }),
    ...options.more,
  });
}

function readText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new ComposefsError("CFS_FAILED", `Reading ${path}`, { cause });
  }
}
