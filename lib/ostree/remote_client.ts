/** How a configured remote is talked to (spec: ostree 8.5). */
import { FormatError } from "../base/mod.ts";
import { type HttpClientOptions, parseCookies } from "../http/mod.ts";

/** The options of a remote that say how it is talked to. */
export interface RemoteTransport {
  /** Its name. */
  readonly name: string;
  /** Value of an option; `undefined` when it is not set. */
  text(
    option: "proxy" | "tls-ca-path" | "tls-client-cert-path" | "tls-client-key-path",
  ): string | undefined;
  /** Value of a boolean option; `undefined` when it is not set. */
  flag(option: "http2" | "tls-permissive"): boolean | undefined;
}

/**
 * What an HTTP client needs for a remote.
 *
 * @param read reads a text file; `undefined` when it is not there
 * @param options.cookies path of the remote's cookies, which need not be there
 * @throws {FormatError} when a file that the remote names is not there, or key or certificate lacks
 */
export function remoteClientOptions(
  remote: RemoteTransport,
  read: (path: string) => string | undefined,
  options: { cookies?: string } = {},
): HttpClientOptions {
  const { name } = remote;
  const proxy = remote.text("proxy");
  const authority = remote.text("tls-ca-path");
  const cert = remote.text("tls-client-cert-path");
  const key = remote.text("tls-client-key-path");
  if ((cert === undefined) !== (key === undefined)) {
    const message = `Remote '${name}' must have both tls-client-cert-path and tls-client-key-path`;
    throw new FormatError("ostree remote", message);
  }
  const needed = (path: string): string => {
    const text = read(path);
    if (text !== undefined) return text;
    throw new FormatError("ostree remote", `Remote '${name}' names '${path}', which is not there`);
  };
  const cookies = options.cookies === undefined ? undefined : read(options.cookies);
  return {
    http2: remote.flag("http2") ?? true,
    ...(remote.flag("tls-permissive") === true ? { verifyTls: false } : {}),
    ...(proxy === undefined ? {} : { proxy }),
    ...(authority === undefined ? {} : { caCerts: [needed(authority)] }),
    ...(cert === undefined || key === undefined
      ? {}
      : { clientCert: { cert: needed(cert), key: needed(key) } }),
    ...(cookies === undefined ? {} : { cookies: parseCookies(cookies) }),
  };
}
