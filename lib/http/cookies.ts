/** Cookies from a file in Netscape's format, as ostree keeps them per remote (spec: ostree 8.5). */
import { FormatError } from "../base/mod.ts";

/** One cookie. */
export interface Cookie {
  /** Host it belongs to, lower case, without a leading dot. */
  readonly domain: string;
  /** Whether hosts below the domain get it, too. */
  readonly subdomains: boolean;
  /** Paths it belongs to begin with this. */
  readonly path: string;
  /** Only for https. */
  readonly secure: boolean;
  /** Seconds since 1970; 0 never expires. */
  readonly expires: number;
  /** Its name. */
  readonly name: string;
  /** Its value. */
  readonly value: string;
}

const FIELDS = 7;
const HTTP_ONLY = "#HttpOnly_";

/**
 * Parses a cookie file: seven fields a line, separated by tabs; `#` begins a comment.
 *
 * @throws {FormatError} naming the line that is no cookie, never its content
 */
export function parseCookies(text: string): Cookie[] {
  const cookies: Cookie[] = [];
  text.split("\n").forEach((raw, index) => {
    let line = raw.replace(/\r$/, "");
    if (line.startsWith(HTTP_ONLY)) line = line.slice(HTTP_ONLY.length);
    else if (line.startsWith("#")) return;
    if (line.trim() === "") return;
    const fields = line.split("\t");
    const [domain, subdomains, path, secure, expires, name, value] = fields;
    const at = { offset: index + 1 };
    if (fields.length !== FIELDS || name === undefined || value === undefined) {
      throw new FormatError("cookies", `Line ${index + 1} is not a cookie`, at);
    }
    // deno-lint-ignore no-control-regex
    if (/[\x00-\x1f;\x7f-\uffff]/.test(name + value) || !/^\d+$/.test(expires!)) {
      throw new FormatError("cookies", `Line ${index + 1} is not a cookie`, at);
    }
    cookies.push({
      domain: domain!.toLowerCase().replace(/^\./, ""),
      subdomains: subdomains === "TRUE",
      path: path!,
      secure: secure === "TRUE",
      expires: Number(expires),
      name,
      value,
    });
  });
  return cookies;
}

/**
 * The `Cookie` header for a URL; `undefined` when no cookie belongs to it.
 *
 * @param options.now seconds since 1970
 */
export function cookieHeader(
  cookies: readonly Cookie[],
  url: URL,
  options: { now?: number } = {},
): string | undefined {
  const now = options.now ?? Date.now() / 1000;
  const found = cookies.filter((cookie) =>
    belongsToHost(cookie, url.hostname) && belongsToPath(cookie.path, url.pathname) &&
    (!cookie.secure || url.protocol === "https:") && (cookie.expires === 0 || cookie.expires > now)
  );
  if (found.length === 0) return undefined;
  return found.map(({ name, value }) => `${name}=${value}`).join("; ");
}

function belongsToHost(cookie: Cookie, host: string): boolean {
  return host === cookie.domain || (cookie.subdomains && host.endsWith("." + cookie.domain));
}

function belongsToPath(path: string, wanted: string): boolean {
  return wanted === path || wanted.startsWith(path.endsWith("/") ? path : path + "/");
}
