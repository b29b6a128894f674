/** Names of images in registries, as signatures and policies spell them (spec: trust 3). */
import { InvalidNameError } from "../base/mod.ts";
import {
  type DockerReference,
  formatDockerReference,
  parseDockerReference,
} from "../registry/mod.ts";

/** A name in full, with the comparisons that policies make. */
export class DockerName {
  readonly #reference: DockerReference;

  /** The name that a registry is asked for, or was. */
  constructor(reference: DockerReference) {
    this.#reference = reference;
  }

  /**
   * Parses a name and completes it as Docker does: `busybox` is `docker.io/library/busybox`.
   *
   * @throws {InvalidNameError} naming what is wrong
   */
  static parse(text: string): DockerName {
    return new DockerName(parseDockerReference(text));
  }

  /** Path at the host. */
  get path(): string {
    return this.#reference.path;
  }

  /** Tag. */
  get tag(): string | undefined {
    return this.#reference.tag;
  }

  /** Digest, `algorithm:hex`. */
  get digest(): string | undefined {
    return this.#reference.digest?.toString();
  }

  /** Host and path. */
  get repository(): string {
    return this.#reference.name;
  }

  /** Whether it is more than a repository. */
  get isExact(): boolean {
    return this.tag !== undefined || this.digest !== undefined;
  }

  /** The same name, with the tag `latest` when it has neither tag nor digest. */
  withLatest(): DockerName {
    return this.isExact ? this : new DockerName({ ...this.#reference, tag: "latest" });
  }

  /** All of it. */
  toString(): string {
    return formatDockerReference(this.#reference);
  }
}

/**
 * Whether a text is a prefix that identities can be remapped with: `host[:port]`, or a name without
 * tag and digest (spec: trust 2).
 */
export function isNamePrefix(text: string): boolean {
  try {
    return !DockerName.parse(text.includes("/") ? text : `${text}/x`).isExact;
  } catch (error) {
    if (error instanceof InvalidNameError) return false;
    throw error;
  }
}
