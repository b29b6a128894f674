/** Which proxy the environment names for a URL, where the runtime does not look by itself. */
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
 */
export function environmentProxy(
  url: URL,
  variable: (name: string) => string | undefined,
): URL | undefined {
  const names = VARIABLES[url.protocol] ?? [];
  const text = names.map(variable).find((value) => value !== undefined && value !== "");
  if (text === undefined) return undefined;
  const full = /^[a-z0-9]+:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(full)) return undefined;
  const direct = variable("no_proxy") || variable("NO_PROXY") || "";
  if (direct.split(/[\s,]+/).some((entry) => isNamed(url, entry))) return undefined;
  const proxy = new URL(full);
  return proxy.protocol === "http:" ? proxy : undefined;
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
