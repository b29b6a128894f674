/** Which proxy the environment names for a URL, where the runtime does not look by itself. */
import { UnsupportedError } from "../base/mod.ts";
import { bareHost } from "./bare_host.ts";

const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  "https:": ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
  "http:": ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
};

/**
 * The HTTP proxy for a URL; `undefined` when there is none, or when the URL's host is among those
 * that are asked directly.
 *
 * @param variable value of an environment variable
 * @throws {UnsupportedError} for a proxy of another kind: what is to go through it must not go past it
 */
export function environmentProxy(
  url: URL,
  variable: (name: string) => string | undefined,
): URL | undefined {
  const names = VARIABLES[url.protocol] ?? [];
  const text = names.map(variable).find((value) => value !== undefined && value !== "");
  if (text === undefined) return undefined;
  const full = /^[a-z0-9]+:\/\//i.test(text) ? text : `http://${text}`;
  const direct = variable("no_proxy") || variable("NO_PROXY") || "";
  if (direct.split(/[\s,]+/).some((entry) => isNamed(url, entry))) return undefined;
  return usableProxy(full);
}

/** Value of an environment variable. */
export function variableOf(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    // Who may not look finds nothing.
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

/**
 * A proxy that can be asked for connections.
 *
 * @throws {UnsupportedError} for one of another kind
 */
export function usableProxy(text: string): URL {
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  if (proxy?.protocol === "http:") return proxy;
  // Without what may be secret in it.
  const shown = proxy === undefined ? "that is no URL" : `of the kind ${proxy.protocol}`;
  throw new UnsupportedError(`Cannot use a proxy ${shown} for servers that are not verified`);
}

/** Whether an entry of `NO_PROXY` means the host of a URL: `*`, a host, a domain, with a port or not. */
function isNamed(url: URL, entry: string): boolean {
  const host = bareHost(url).toLowerCase();
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const text = entry.toLowerCase();
  if (text === "*" || text === host) return true;
  const match = /^\[?([^[\]/]+?)\]?(?::(\d+))?$/.exec(text);
  if (match === null || (match[2] !== undefined && match[2] !== port)) return false;
  const domain = match[1]!.replace(/^\*?\./, "");
  return host === domain || host.endsWith(`.${domain}`);
}
