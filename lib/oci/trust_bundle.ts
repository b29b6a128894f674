/** Files that carry an image's documents and signatures, to be checked offline (spec: trust 11). */
import { type Digest, nodeHash, toHex, UnsupportedError } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { writeTarHeader } from "../tar/mod.ts";
import type { FoundSignatures } from "../trust/mod.ts";
import { linkedImage, listReferrers, type OciImage, openImageRef, openManifest } from "./image.ts";
import {
  INDEX_TYPE,
  isSignatureLayer,
  LAYOUT_FILE,
  MANIFEST_TYPE,
  REF_NAME_ANNOTATION,
} from "../transport/mod.ts";
import { storedAttachments } from "./stored_attachments.ts";

/** What is exported besides the image's own documents. */
export interface TrustExportOptions {
  /** Names of the image, as hints for whoever checks. */
  names?: readonly string[];
  /** Simple signatures of the image. */
  simple?: FoundSignatures | undefined;
}

const BLOCK = 512;

const encoder = new TextEncoder();

/**
 * The bytes of such a file: a layout in a tar, with `trust.json`. No keys and no policy: trust comes
 * from the side that checks.
 *
 * @param name tag or digest of the image
 * @throws {NotFoundError} when there is no such image
 * @throws {UnsupportedError} when its digest is not sha256
 */
export async function trustBundle(
  repository: Repository,
  name: string,
  options: TrustExportOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const image = openImageRef(repository, name);
  const blobs = new Map<string, Uint8Array>();
  const add = (bytes: Uint8Array) => {
    const digest = sha256(bytes);
    blobs.set(digest, bytes);
    return { digest: `sha256:${digest}`, size: bytes.length };
  };
  const manifest = { mediaType: mediaTypeOf(image), ...add(image.manifestStream.bytes) };
  add(image.configStream.bytes);
  const signatures = await signatureEntries(repository, image.manifestDigest, add);
  const { algorithm, encoded } = image.manifestDigest;
  if (algorithm !== "sha256") {
    throw new UnsupportedError(`Images with ${algorithm} digests cannot be exported`);
  }
  const named = (entry: object, ref: string) => ({
    ...entry,
    annotations: { [REF_NAME_ANNOTATION]: ref },
  });
  const manifests = [named(manifest, options.names?.[0] ?? name)];
  if (signatures.length > 0) {
    const list = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: signatures };
    const index = { mediaType: INDEX_TYPE, ...add(encoder.encode(JSON.stringify(list))) };
    manifests.push(named(index, `${algorithm}-${encoded}`));
  }
  const layout = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests };
  const files: [string, Uint8Array][] = [
    ["oci-layout", encoder.encode(LAYOUT_FILE)],
    ["index.json", encoder.encode(JSON.stringify(layout))],
    ["trust.json", encoder.encode(JSON.stringify(hints(repository, image, options)))],
  ];
  for (const digest of [...blobs.keys()].sort()) {
    files.push([`blobs/sha256/${digest}`, blobs.get(digest)!]);
  }
  const simple = (options.simple?.signatures ?? []).filter(({ kind }) => kind === "simple");
  for (const [i, one] of simple.entries()) {
    const path = `signatures/${algorithm}=${encoded}/signature-${i + 1}`;
    if (one.kind === "simple") files.push([path, one.bytes]);
  }
  return tarOf(files);
}

function sha256(bytes: Uint8Array): string {
  const hash = nodeHash.stream("sha256");
  hash.update(bytes);
  return toHex(hash.digest());
}

function mediaTypeOf(image: OciImage): string {
  return image.manifest.mediaType ?? MANIFEST_TYPE;
}

/** Adds the signatures that are stored with an image; entries of an index that lists them. */
async function signatureEntries(
  repository: Repository,
  subject: Digest,
  add: (bytes: Uint8Array) => { digest: string; size: number },
): Promise<object[]> {
  const source = storedAttachments(repository);
  const entries: object[] = [];
  for (const digest of listReferrers(repository, subject)) {
    const artifact = openManifest(repository, digest);
    if (!artifact.manifest.layers.some(({ mediaType }) => isSignatureLayer(mediaType))) continue;
    for (const layer of artifact.manifest.layers) add(await source.blob(layer));
    add(artifact.configStream.bytes);
    const { artifactType } = artifact.manifest;
    entries.push({
      mediaType: mediaTypeOf(artifact),
      ...add(artifact.manifestStream.bytes),
      ...artifactType ? { artifactType } : {},
    });
  }
  return entries;
}

/** What the image comes to in this repository; only to be believed when it was computed again. */
function hints(repository: Repository, image: OciImage, options: TrustExportOptions): object {
  const { manifest, layerIds, configStream } = image;
  const erofs = repository.formats.flatMap((version) =>
    [false, true].flatMap((bootable) => {
      const id = linkedImage(configStream.refs, version, bootable);
      const format = version === 2 ? "v2" : "v1";
      return id === undefined
        ? []
        : [{ format, algorithm: repository.algorithm.hash, id, bootable }];
    })
  );
  return {
    version: 1,
    manifest: image.manifestDigest,
    config: image.configDigest,
    layers: manifest.layers.map(({ digest }, i) => ({ digest, diff_id: layerIds[i] ?? null })),
    erofs,
    names: options.names ?? [],
  };
}

function tarOf(files: readonly (readonly [string, Uint8Array])[]): Uint8Array<ArrayBuffer> {
  const padded = (size: number) => Math.ceil(size / BLOCK) * BLOCK;
  const total = files.reduce((sum, [, bytes]) => sum + BLOCK + padded(bytes.length), 2 * BLOCK);
  const out = new Uint8Array(total);
  let at = 0;
  for (const [name, bytes] of files) {
    writeTarHeader(out, at, { name, size: bytes.length });
    out.set(bytes, at + BLOCK);
    at += BLOCK + padded(bytes.length);
  }
  return out;
}
