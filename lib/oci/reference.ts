/** Image references: `TRANSPORT:REST` (spec: oci 5). */
import { Digest, InvalidNameError } from "../base/mod.ts";

/** Transports that a reference can name. */
const TRANSPORTS = [
  "oci",
  "oci-archive",
  "docker",
  "registry",
  "dir",
  "docker-archive",
  "docker-daemon",
  "containers-storage",
] as const;

/** Name of a transport. */
export type Transport = typeof TRANSPORTS[number];

/** A parsed image reference. */
export interface ImageReference {
  /** Where the image is. */
  readonly transport: Transport;
  /** Everything after the transport. */
  readonly rest: string;
}

/**
 * Splits an image reference.
 *
 * @throws {InvalidNameError} in the reference's words
 */
export function parseImageReference(text: string): ImageReference {
  const colon = text.indexOf(":");
  if (colon < 0) throw new InvalidNameError(`Missing ':' in ${text}`);
  const transport = text.slice(0, colon);
  if (!isTransport(transport)) throw new InvalidNameError(`Invalid transport: ${transport}`);
  let rest = text.slice(colon + 1);
  if (transport === "docker") {
    if (!rest.startsWith("//")) throw new InvalidNameError(`Missing // in docker:// in ${text}`);
    rest = rest.slice(2);
  }
  if (rest === "") throw new InvalidNameError(`Invalid empty name in ${text}`);
  return { transport, rest };
}

function isTransport(text: string): text is Transport {
  return (TRANSPORTS as readonly string[]).includes(text);
}

/** Which image of a layout is meant. */
export interface LayoutReference {
  /** Path of the layout or archive. */
  readonly path: string;
  /** By tag (annotation of an index entry), by digest, or by position. */
  readonly select:
    | { readonly by: "tag"; readonly tag: string }
    | { readonly by: "digest"; readonly digest: Digest }
    | { readonly by: "position"; readonly position: number }
    | undefined;
}

/**
 * Splits `PATH[:TAG]`, `PATH@DIGEST` or `PATH:@N`. The tag is what follows the last colon when it
 * has no slash.
 */
export function parseLayoutReference(rest: string): LayoutReference {
  const digest = /^(.+)@(sha(?:256|384|512):[^/]*)$/.exec(rest);
  if (digest !== null) {
    return { path: digest[1]!, select: { by: "digest", digest: Digest.parse(digest[2]!) } };
  }
  const colon = rest.lastIndexOf(":");
  if (colon < 0 || rest.indexOf("/", colon) >= 0) return { path: rest, select: undefined };
  const path = rest.slice(0, colon);
  const tag = rest.slice(colon + 1);
  if (path === "") throw new InvalidNameError(`Invalid empty path in ${rest}`);
  if (tag === "") return { path, select: undefined };
  const position = /^@([0-9]{1,6})$/.exec(tag);
  if (position !== null) return { path, select: { by: "position", position: Number(position[1]) } };
  return { path, select: { by: "tag", tag } };
}
