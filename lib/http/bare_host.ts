/** The host of a URL as sockets take it: IPv6 addresses without brackets. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}
