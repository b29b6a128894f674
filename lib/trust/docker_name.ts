/** Names of images in registries, as signatures and policies spell them (spec: trust 3). */
import { InvalidNameError } from "../base/mod.ts";

const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const HOST = new RegExp(
  `^(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-fA-F:.]+\\])(?::[0-9]+)?$`,
);
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/** The registry that names without a host mean. */
const DEFAULT_HOST = "docker.io";
const LEGACY_HOST = "index.docker.io";
const OFFICIAL = "library/";

/** Longest name without tag and digest, in characters. */
const MAX_NAME = 255;

/** Longest text that is looked at. */
const MAX_TEXT = 1024;

/** A name in full. */
export class DockerName {
  /** Host, with its port. */
  readonly host: string;
  /** Path at the host. */
  readonly path: string;
  /** Tag. */
  readonly tag: string | undefined;
  /** Digest, `algorithm:hex`. */
  readonly digest: string | undefined;

  private constructor(host: string, path: string, rest: { tag?: string; digest?: string }) {
    this.host = host;
    this.path = path;
    this.tag = rest.tag;
    this.digest = rest.digest;
  }

  /**
   * Parses a name and completes it as Docker does: `busybox` is `docker.io/library/busybox`.
   *
   * @throws {InvalidNameError} naming what is wrong
   */
  static parse(text: string): DockerName {
    if (text.length > MAX_TEXT) throw new InvalidNameError("invalid reference format: too long");
    if (/^[a-f0-9]{64}$/.test(text)) {
      throw new InvalidNameError(
        `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
      );
    }
    let name = text;
    const rest: { tag?: string; digest?: string } = {};
    const at = name.indexOf("@");
    if (at >= 0) {
      rest.digest = checkedDigest(name.slice(at + 1));
      name = name.slice(0, at);
    }
    const colon = name.lastIndexOf(":");
    if (colon > name.lastIndexOf("/")) {
      rest.tag = name.slice(colon + 1);
      name = name.slice(0, colon);
      if (!TAG.test(rest.tag)) throw new InvalidNameError("invalid reference format");
    }
    const slash = name.indexOf("/");
    const first = slash < 0 ? "" : name.slice(0, slash);
    const named = slash >= 0 &&
      (/[.:]/.test(first) || first === "localhost" || first.toLowerCase() !== first);
    let host = named ? first : DEFAULT_HOST;
    let path = named ? name.slice(slash + 1) : name;
    if (host === LEGACY_HOST) host = DEFAULT_HOST;
    if (host === DEFAULT_HOST && !path.includes("/")) path = OFFICIAL + path;
    checkHost(host);
    checkPath(path);
    if (host.length + 1 + path.length > MAX_NAME) {
      throw new InvalidNameError(
        `repository name must not be more than ${MAX_NAME} characters`,
      );
    }
    return new DockerName(host, path, rest);
  }

  /** Host and path. */
  get repository(): string {
    return `${this.host}/${this.path}`;
  }

  /** Whether it is more than a repository. */
  get isExact(): boolean {
    return this.tag !== undefined || this.digest !== undefined;
  }

  /** The same name, with the tag `latest` when it has neither tag nor digest. */
  withLatest(): DockerName {
    return this.isExact ? this : new DockerName(this.host, this.path, { tag: "latest" });
  }

  /** All of it. */
  toString(): string {
    const tag = this.tag === undefined ? "" : `:${this.tag}`;
    const digest = this.digest === undefined ? "" : `@${this.digest}`;
    return this.repository + tag + digest;
  }
}

function checkedDigest(text: string): string {
  const colon = text.indexOf(":");
  const length = HEX_LENGTH[text.slice(0, colon)];
  if (!DIGEST.test(text)) throw new InvalidNameError("invalid reference format");
  const hex = text.slice(colon + 1);
  if (length !== undefined && (hex.length !== length || hex.toLowerCase() !== hex)) {
    throw new InvalidNameError("invalid checksum digest length");
  }
  return text;
}

function checkHost(host: string): void {
  if (!HOST.test(host)) throw new InvalidNameError("invalid reference format");
}

function checkPath(path: string): void {
  if (path.split("/").every((component) => COMPONENT.test(component))) return;
  if (path.toLowerCase() !== path) {
    throw new InvalidNameError("invalid reference format: repository name must be lowercase");
  }
  throw new InvalidNameError("invalid reference format");
}

/**
 * Whether a text is a prefix that identities can be remapped with: `host[:port]`, or a name without
 * tag and digest, in full (spec: trust 2).
 */
export function isNamePrefix(text: string): boolean {
  if (text.length > MAX_NAME) return false;
  if (HOST.test(text)) return true;
  try {
    const name = DockerName.parse(text);
    return !name.isExact;
  } catch (error) {
    if (error instanceof InvalidNameError) return false;
    throw error;
  }
}
