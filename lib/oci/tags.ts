/** Tags: names of images below `streams/refs/oci` (spec: oci 1.3). */
import { Digest, InvalidNameError, NotFoundError, utf8ByteString } from "../base/mod.ts";
import {
  checkRefName,
  decodeRefComponent,
  encodeRefComponent,
  type Repository,
} from "../repository/mod.ts";
import { TAG_REFS } from "./ref_names.ts";

const MANIFEST_STREAM = "oci-manifest-";
const MAX_ENCODED = 255;

/** Content id of a manifest's stream. */
export function manifestStream(digest: Digest): string {
  return `${MANIFEST_STREAM}${digest}`;
}

/**
 * The entry that a root of the collector means: manifests can be given by their digest.
 *
 * @param root as of `GcOptions.roots`, or `sha256:…` or `@sha256:…`
 */
export function gcRoot(repository: Repository, root: string): string {
  const digest = /^@?(sha(?:256|384|512):[0-9a-f]+)$/.exec(root)?.[1];
  if (digest === undefined) return root;
  const entry = MANIFEST_STREAM + digest;
  return repository.streamObject(entry) === undefined ? root : entry;
}

/** Content id of a config's stream. */
export function configStream(digest: Digest): string {
  return `oci-config-${digest}`;
}

/** Content id of a layer's stream, by the digest of the unpacked layer (or artifact blob). */
export function layerStream(diffId: Digest): string {
  return `oci-layer-${diffId}`;
}

/**
 * Checks a tag and encodes it into the name of its reference.
 *
 * @throws {InvalidNameError} for reserved, empty, too long or dangerous names
 */
export function tagRef(name: string): string {
  if (name.startsWith("@")) {
    throw new InvalidNameError(
      `Invalid ref name ${JSON.stringify(name)}: leading '@' is reserved for digest references`,
    );
  }
  const encoded = encodeRefComponent(name);
  const shown = JSON.stringify(name);
  if (name === "") throw new InvalidNameError("Invalid ref name: a tag cannot be empty");
  if (!name.isWellFormed()) throw new InvalidNameError(`Invalid ref name ${shown}: not Unicode`);
  if (utf8ByteString(encoded).length > MAX_ENCODED) {
    throw new InvalidNameError(
      `Invalid ref name ${shown}: longer than ${MAX_ENCODED} bytes when encoded`,
    );
  }
  // The rest is the same for all references: "." and "..", control characters, temporary names.
  checkRefName(encoded);
  return `${TAG_REFS}/${encoded}`;
}

/** A tag and the manifest it leads to. */
export interface Tag {
  /** Name as the user gave it. */
  readonly name: string;
  /** Digest of the manifest. */
  readonly manifest: Digest;
}

/** All tags, sorted by name; links that lead to no manifest stream are reported and left out. */
export function listTags(repository: Repository, warn: (text: string) => void = () => {}): Tag[] {
  const tags: Tag[] = [];
  for (const ref of repository.listRefs("streams", TAG_REFS)) {
    const name = decodeRefComponent(ref.name.slice(TAG_REFS.length + 1));
    const manifest = manifestOf(ref.entry);
    if (manifest === undefined) warn(`tag ${name} leads to ${ref.entry}, which is no manifest`);
    else tags.push({ name, manifest });
  }
  return tags.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Digest of the manifest that a stream entry holds; `undefined` for other entries. */
export function manifestOf(entry: string): Digest | undefined {
  if (!entry.startsWith(MANIFEST_STREAM)) return undefined;
  try {
    return Digest.parse(entry.slice(MANIFEST_STREAM.length));
  } catch {
    return undefined; // reported by the caller
  }
}

/**
 * Manifest digest of a tag.
 *
 * @throws {NotFoundError} `OCI reference not found: NAME`
 */
export function resolveTag(repository: Repository, name: string): Digest {
  const entry = repository.resolveRef("streams", tagRef(name));
  const manifest = entry === undefined ? undefined : manifestOf(entry);
  if (manifest === undefined) {
    throw new NotFoundError("tag", name, { message: `OCI reference not found: ${name}` });
  }
  return manifest;
}

/**
 * Makes a tag lead to a stored manifest.
 *
 * @throws {NotFoundError} `manifest <digest> not found`
 */
export function tagImage(repository: Repository, manifest: Digest, name: string): void {
  const ref = tagRef(name);
  const entry = manifestStream(manifest);
  if (repository.streamObject(entry) === undefined) {
    throw new NotFoundError("manifest", manifest.toString(), {
      message: `manifest ${manifest} not found`,
    });
  }
  repository.setRef("streams", ref, { entry });
}

/**
 * Removes a tag.
 *
 * @throws {NotFoundError} when there is no such tag
 */
export function untagImage(repository: Repository, name: string): void {
  if (!repository.removeRef("streams", tagRef(name))) {
    throw new NotFoundError("tag", name, { message: `OCI reference not found: ${name}` });
  }
}
