/** Image references: `TRANSPORT:REST` (spec: oci 5). */
import { Digest, InvalidNameError } from "../base/mod.ts";

/** Name of a transport. */
export type Transport =
  | "oci"
  | "oci-archive"
  | "docker"
  | "registry"
  | "dir"
  | "docker-archive"
  | "docker-daemon"
  | "containers-storage";

/** Transports that a reference can name. */
const TRANSPORTS: Readonly<Record<Transport, true>> = {
  "oci": true,
  "oci-archive": true,
  "docker": true,
  "registry": true,
  "dir": true,
  "docker-archive": true,
  "docker-daemon": true,
  "containers-storage": true,
};

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
  if (colon < 0) throw noTransport(`Missing ':' in ${text}`);
  const transport = text.slice(0, colon);
  if (!isTransport(transport)) throw noTransport(`Invalid transport: ${transport}`);
  let rest = text.slice(colon + 1);
  if (transport === "docker") {
    if (!rest.startsWith("//")) throw new InvalidNameError(`Missing // in docker:// in ${text}`);
    rest = rest.slice(2);
  }
  if (rest === "") throw new InvalidNameError(`Invalid empty name in ${text}`);
  return { transport, rest };
}

function noTransport(message: string): InvalidNameError {
  return new InvalidNameError(message, { detail: "no-transport" });
}

/** Whether a text begins with a transport, and so does not mean an image of the repository. */
export function isTransportReference(text: string): boolean {
  const colon = text.indexOf(":");
  return colon > 0 && isTransport(text.slice(0, colon));
}

function isTransport(text: string): text is Transport {
  return Object.hasOwn(TRANSPORTS, text);
}

/** Which entry of an index is meant: by tag (its annotation), by digest, or by position. */
export type EntrySelector =
  | { readonly by: "tag"; readonly tag: string }
  | { readonly by: "digest"; readonly digest: Digest }
  | { readonly by: "position"; readonly position: number };

/** Which image of a layout is meant. */
export interface LayoutReference {
  /** Path of the layout or archive. */
  readonly path: string;
  /** The entry; `undefined` for whatever fits the platform. */
  readonly select: EntrySelector | undefined;
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
