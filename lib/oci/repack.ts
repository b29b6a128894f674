/** Manifests of images whose layers are packed in another way (spec: oci 2.4, 5.3). */
import { FormatError } from "../base/mod.ts";
import {
  type Compression,
  CONFIG_TYPE,
  type Descriptor,
  DOCKER_CONFIG_TYPE,
  DOCKER_MANIFEST_TYPE,
  isImageConfigType,
  type Manifest,
  MANIFEST_TYPE,
} from "../transport/mod.ts";

/** Kinds of manifest. */
export type ManifestFormat = "oci" | "v2s2";

/** A layer as the destination has it. */
export interface PackedLayer {
  /** Media type, digest and size; the manifest's own descriptor when it could be kept. */
  readonly descriptor: Pick<Descriptor, "digest" | "size" | "mediaType">;
  /** Whether digest and size are those of the stored manifest. */
  readonly kept: boolean;
}

const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
const OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
const OCI_SUFFIX = { none: "", gzip: "+gzip", zstd: "+zstd" } as const;
const DOCKER_SUFFIX = { none: "", gzip: ".gzip", zstd: ".zstd" } as const;

/** Annotations that tell about the bytes of a packed layer, and so not about another packing. */
const PACKED_ANNOTATIONS = [
  "io.github.containers.zstd-chunked.",
  "io.containers.zstd-chunked.",
  "io.containers.estargz.",
  "containerd.io/snapshot/stargz/",
];

/** Media type of a tar layer in another packing. */
export function layerType(
  mediaType: string,
  compression: Compression,
  format?: ManifestFormat,
): string {
  const docker = format === undefined ? mediaType.includes("vnd.docker.") : format === "v2s2";
  if (docker) return DOCKER_LAYER + DOCKER_SUFFIX[compression];
  const foreign = /nondistributable|foreign/.test(mediaType);
  return (foreign ? OCI_FOREIGN : OCI_LAYER) + OCI_SUFFIX[compression];
}

/** The kind of manifest that a manifest is. */
export function formatOf(manifest: Manifest): ManifestFormat {
  return manifest.mediaType === DOCKER_MANIFEST_TYPE ? "v2s2" : "oci";
}

/** A manifest that is written. */
export interface WrittenManifest {
  /** Its media type. */
  readonly mediaType: string;
  /** Its bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * A manifest for the same config with layers that are packed in another way. Everything else it
 * says stays, in the same order.
 *
 * @param original bytes of the stored manifest, which was parsed before
 */
export function repackedManifest(
  original: Uint8Array,
  layers: readonly PackedLayer[],
  format: ManifestFormat,
): WrittenManifest {
  const document = JSON.parse(new TextDecoder().decode(original)) as Record<string, unknown>;
  const before = document["layers"] as Record<string, unknown>[];
  const entries = layers.map(({ descriptor, kept }, i) => {
    const { mediaType, digest, size } = descriptor;
    const entry = { ...before[i], mediaType, digest: digest.toString(), size };
    return kept ? entry : withoutPacking(entry);
  });
  const config = document["config"] as Record<string, unknown>;
  if (format === "v2s2") return dockerManifest(config, entries);
  const isImage = isImageConfigType(String(config["mediaType"]));
  return encode(MANIFEST_TYPE, {
    ...document,
    ...("mediaType" in document ? { mediaType: MANIFEST_TYPE } : {}),
    config: isImage ? { ...config, mediaType: CONFIG_TYPE } : config,
    layers: entries,
  });
}

/** Leaves out what was said about the bytes of the old packing. */
function withoutPacking(entry: Record<string, unknown>): Record<string, unknown> {
  const { urls: _urls, data: _data, annotations, ...rest } = entry;
  const kept = Object.entries((annotations ?? {}) as Record<string, string>)
    .filter(([name]) => !PACKED_ANNOTATIONS.some((prefix) => name.startsWith(prefix)));
  return kept.length === 0 ? rest : { ...rest, annotations: Object.fromEntries(kept) };
}

/** Docker's schema 2, which knows no annotations and no artifacts. */
function dockerManifest(
  config: Record<string, unknown>,
  layers: readonly Record<string, unknown>[],
): WrittenManifest {
  if (!isImageConfigType(String(config["mediaType"]))) {
    throw new FormatError("image manifest", "An artifact cannot be a Docker schema 2 image");
  }
  const entry = (mediaType: unknown, { digest, size }: Record<string, unknown>) => ({
    mediaType,
    size,
    digest,
  });
  return encode(DOCKER_MANIFEST_TYPE, {
    schemaVersion: 2,
    mediaType: DOCKER_MANIFEST_TYPE,
    config: entry(DOCKER_CONFIG_TYPE, config),
    layers: layers.map((layer) => entry(layer["mediaType"], layer)),
  });
}

function encode(mediaType: string, document: unknown): WrittenManifest {
  return { mediaType, bytes: new TextEncoder().encode(JSON.stringify(document)) };
}
