/** Names of images in registries, as Docker writes them (spec: oci 6, trust 3). */
import { Digest, FormatError, InvalidNameError } from "../base/mod.ts";

/** The registry that names without a host belong to. */
export const DEFAULT_DOMAIN = "docker.io";
/** Where the default registry really answers. */
const DEFAULT_API_HOST = "registry-1.docker.io";
/** Its older name. */
const LEGACY_DOMAIN = "index.docker.io";
/** Where the default registry keeps names of one component. */
const OFFICIAL = "library";
/** Longest name, host included, in characters. */
const MAX_NAME = 255;
/** Longest reference that is looked at. */
const MAX_REFERENCE = 1024;

const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const DOMAIN = new RegExp(
  `^(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-fA-F:.]{2,45}\\])(?::[0-9]{1,5})?$`,
);
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const ONLY_HEX = /^[0-9a-f]{64}$/;

/** A repository in a registry, and what of it is meant. */
export interface DockerReference {
  /** Host, with its port when it has one; `docker.io` when none was named. */
  readonly domain: string;
  /** Path of the repository, without a slash before it. */
  readonly path: string;
  /** Domain and path with a slash between. */
  readonly name: string;
  /** The tag; `undefined` when none was named. */
  readonly tag: string | undefined;
  /** The digest; it counts when both are there. */
  readonly digest: Digest | undefined;
}

/**
 * Parses `[HOST[:PORT]/]REPO[:TAG][@ALG:HEX]`; short names get their host and `library/`.
 *
 * @throws {InvalidNameError} naming what is wrong
 */
export function parseDockerReference(text: string): DockerReference {
  if (text.length > MAX_REFERENCE) throw new InvalidNameError("Image name is too long");
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1), text);
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(":");
  const tagged = colon > rest.lastIndexOf("/");
  const tag = tagged ? rest.slice(colon + 1) : undefined;
  const short = tagged ? rest.slice(0, colon) : rest;
  if (tag !== undefined && !isTag(tag)) throw invalid(text, `"${tag}" is no tag`);
  return { ...parseName(short, text), tag, digest };
}

/**
 * Parses the name of a repository alone, without tag and digest.
 *
 * @param whole what is shown in errors
 * @throws {InvalidNameError} naming what is wrong
 */
export function parseName(
  short: string,
  whole: string = short,
): Pick<DockerReference, "domain" | "path" | "name"> {
  if (ONLY_HEX.test(short)) throw invalid(whole, "a name of 64 hexadecimal digits is an identity");
  const slash = short.indexOf("/");
  const first = slash < 0 ? "" : short.slice(0, slash);
  const hosted = /[.:A-Z]/.test(first) || first === "localhost";
  let domain = hosted ? first : DEFAULT_DOMAIN;
  let path = hosted ? short.slice(slash + 1) : short;
  if (domain === LEGACY_DOMAIN) domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !path.includes("/")) path = `${OFFICIAL}/${path}`;
  if (!DOMAIN.test(domain)) throw invalid(whole, `"${domain}" is no host`);
  const port = /:([0-9]+)$/.exec(domain)?.[1];
  if (port !== undefined && Number(port) > 65535) throw invalid(whole, `"${domain}" is no host`);
  for (const component of path.split("/")) {
    if (component !== component.toLowerCase()) {
      throw invalid(whole, "repositories have lower-case names");
    }
    if (!COMPONENT.test(component)) {
      throw invalid(whole, `"${component}" is no part of a repository's name`);
    }
  }
  const name = `${domain}/${path}`;
  if (name.length > MAX_NAME) {
    throw invalid(whole, `the name has more than ${MAX_NAME} characters`);
  }
  return { domain, path, name };
}

function parseDigest(text: string, whole: string): Digest {
  try {
    return Digest.parse(text);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw invalid(whole, cause.message);
  }
}

function invalid(text: string, why: string): InvalidNameError {
  return new InvalidNameError(`Invalid image name "${text}": ${why}`);
}

/** Whether a text can be a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** The reference as text, in full. */
export function formatDockerReference(reference: DockerReference): string {
  const { name, tag, digest } = reference;
  return name + (tag === undefined ? "" : `:${tag}`) + (digest === undefined ? "" : `@${digest}`);
}

/** What is asked of the registry: the digest, else the tag, else `latest`. */
export function wanted(reference: DockerReference): Digest | string {
  return reference.digest ?? reference.tag ?? "latest";
}

/** The host that answers for a domain. */
export function apiHost(domain: string): string {
  return domain === DEFAULT_DOMAIN ? DEFAULT_API_HOST : domain;
}

/** The tag under which things about a manifest are kept, for example its signature. */
export function attachmentTag(digest: Digest, suffix = ""): string {
  return `${digest.algorithm}-${digest.encoded}${suffix}`;
}
