/** `docker-archive:` files as `docker save` writes them (spec: oci 5). */
import {
  Digest,
  FormatError,
  InvalidNameError,
  nodeHash,
  NotFoundError,
  utf8ByteString,
  withContext,
} from "../base/mod.ts";
import { type Fd, fstat, memfd, writeAll } from "../../ffi/mod.ts";
import { formatDockerReference, parseDockerReference } from "../registry/mod.ts";
import type { TarMember } from "../tar/mod.ts";
import { indexMembers, openTar } from "./archive.ts";
import { type Blob, checkBlobSize, readRange } from "./blob.ts";
import {
  type Descriptor,
  type DockerArchiveImage,
  MAX_DOCUMENT_SIZE,
  parseConfig,
  parseDockerArchive,
} from "./documents.ts";
import type { LayoutStore } from "./layout.ts";
import { CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE } from "./media_types.ts";
import { sniffBlob, unpackToTemporary } from "./temporary.ts";

const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar";

/** A stretch of an open file. */
type Stretch = Pick<Blob, "fd" | "offset" | "size">;

/** Which image of an archive is meant. */
export interface DockerArchiveReference {
  /** Path of the archive. */
  readonly path: string;
  /** Name of the image, its position, or `undefined` for the only one. */
  readonly image: string | number | undefined;
}

/** Splits `PATH[:REF|:@N]`; the path has no colon. */
export function parseDockerArchiveReference(rest: string): DockerArchiveReference {
  const colon = rest.indexOf(":");
  if (colon < 0) return { path: rest, image: undefined };
  const path = rest.slice(0, colon);
  const image = rest.slice(colon + 1);
  const position = /^@([0-9]{1,6})$/.exec(image);
  if (position !== null) return { path, image: Number(position[1]) };
  return { path, image: image === "" ? undefined : fullName(image) };
}

function fullName(name: string): string {
  const reference = parseDockerReference(name);
  return formatDockerReference({ ...reference, tag: reference.tag ?? "latest" });
}

/** Layers as they are found are not what a manifest announces: it is made here. */
class DockerArchiveStore implements LayoutStore {
  readonly name: string;
  readonly index: Uint8Array;
  readonly #files: readonly Fd[];
  readonly #blobs: ReadonlyMap<string, Stretch>;

  constructor(name: string, parts: {
    index: Uint8Array;
    files: readonly Fd[];
    blobs: ReadonlyMap<string, Stretch>;
  }) {
    this.name = name;
    this.index = parts.index;
    this.#files = parts.files;
    this.#blobs = parts.blobs;
  }

  blob(descriptor: Descriptor): Blob {
    const stretch = this.#blobs.get(descriptor.digest.toString());
    if (stretch === undefined) {
      throw new NotFoundError("blob", descriptor.digest.toString(), {
        message: `Blob ${descriptor.digest} is not in ${this.name}`,
      });
    }
    checkBlobSize(descriptor, stretch.size);
    // The descriptors are shared by all blobs and closed with the archive.
    return { ...stretch, [Symbol.dispose]: () => {} };
  }

  [Symbol.dispose](): void {
    for (const fd of this.#files) fd.close();
  }
}

/**
 * Opens an image of an archive that `docker save` writes: it gets a manifest of its plain layers
 * (spec: oci 5.3). Packed layers are unpacked first.
 *
 * @throws {NotFoundError} when the archive has no such image
 */
export async function openDockerArchive(reference: DockerArchiveReference): Promise<LayoutStore> {
  const { path } = reference;
  const fd = await openTar(path, "Docker archive");
  const files = [fd];
  try {
    const members = indexMembers(fd, { symlinks: true });
    const list = readDocument(stretchOf(fd, members, "manifest.json"), "manifest.json");
    const image = chooseImage(parseDockerArchive(list), reference);
    const config = stretchOf(fd, members, image.config);
    const configBytes = readDocument(config, "image config");
    const diffIds = parseConfig(configBytes).diffIds;
    if (diffIds.length !== image.layers.length) {
      throw new FormatError(
        "image config",
        `expected ${image.layers.length} layer refs but got ${diffIds.length}`,
      );
    }
    const configDigest = sha256(configBytes);
    const blobs = new Map([[configDigest, config]]);
    const layers: unknown[] = [];
    for (const [i, name] of image.layers.entries()) {
      const digest = diffIds[i]!.toString();
      const layer = blobs.get(digest) ?? await plainLayer(stretchOf(fd, members, name), files);
      blobs.set(digest, layer);
      layers.push({ mediaType: LAYER_TYPE, digest, size: layer.size });
    }
    const manifest = encode({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: CONFIG_TYPE, digest: configDigest, size: config.size },
      layers,
    });
    const memory = memfd("manifest");
    files.push(memory);
    writeAll(memory, manifest);
    const entry = { mediaType: MANIFEST_TYPE, digest: sha256(manifest), size: manifest.length };
    blobs.set(entry.digest, { fd: memory, offset: 0, size: manifest.length });
    const index = encode({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [entry] });
    return new DockerArchiveStore(path, { index, files, blobs });
  } catch (cause) {
    for (const file of files) file.close();
    throw withContext(`Reading Docker archive ${path}`, cause);
  }
}

function chooseImage(
  images: readonly DockerArchiveImage[],
  { path, image }: DockerArchiveReference,
): DockerArchiveImage {
  const named = (tag: string) => {
    try {
      return fullName(tag) === image;
    } catch (error) {
      if (error instanceof InvalidNameError) return false; // nobody can ask for it
      throw error;
    }
  };
  const chosen = typeof image === "number"
    ? images[image]
    : image === undefined
    ? images[0]
    : images.find(({ tags }) => tags.some(named));
  if (chosen === undefined) {
    const message = images.length === 0 ? "No images in the archive" : `No image ${image}`;
    throw new NotFoundError("manifest", path, { message });
  }
  if (image === undefined && images.length > 1) {
    throw new InvalidNameError(
      `The archive has ${images.length} images: name one, or choose by position with :@0`,
    );
  }
  return chosen;
}

function stretchOf(fd: Fd, members: ReadonlyMap<string, TarMember>, name: string): Stretch {
  // Names are text here and bytes in the archive.
  const member = members.get(utf8ByteString(name.replace(/^(?:\.?\/)+/, "")));
  if (member === undefined) {
    throw new NotFoundError("member", name, { message: `${name} is not in the archive` });
  }
  return { fd, offset: member.offset, size: member.size };
}

function readDocument(stretch: Stretch, what: string): Uint8Array<ArrayBuffer> {
  if (stretch.size > MAX_DOCUMENT_SIZE) {
    throw new FormatError(
      what,
      `${what} has ${stretch.size} bytes, more than ${MAX_DOCUMENT_SIZE}`,
    );
  }
  return readRange(stretch, what);
}

/** A layer as its diff_id means it. */
async function plainLayer(layer: Stretch, files: Fd[]): Promise<Stretch> {
  const compression = sniffBlob(layer);
  if (compression === "none") return layer;
  const fd = await unpackToTemporary(layer, compression);
  files.push(fd);
  return { fd, offset: 0, size: fstat(fd).size };
}

function encode(document: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(document));
}

function sha256(bytes: Uint8Array): string {
  const hash = nodeHash.stream("sha256");
  hash.update(bytes);
  return Digest.sha256(hash.digest()).toString();
}
