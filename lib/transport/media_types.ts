/** Media types and other strings that are fixed by OCI and Docker (spec: oci 2.4). */

/** OCI image manifest. */
export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
/** OCI image index. */
export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
/** OCI image config; a manifest with another config is an artifact. */
export const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
/** Docker schema 2 manifest. */
export const DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json";
/** Docker schema 2 manifest list. */
const DOCKER_INDEX_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json";
/** Docker image config; same content as the OCI one. */
export const DOCKER_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json";

/** How a blob is packed. */
export type Compression = "none" | "gzip" | "zstd";

/** Layer media types that hold a tar stream, and how it is packed. */
const TAR_TYPES: Readonly<Record<string, Compression>> = {
  "application/vnd.oci.image.layer.v1.tar": "none",
  "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
  "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
};

/** Packing that a layer's media type announces; `undefined` when it is no tar layer. */
export function tarCompression(mediaType: string): Compression | undefined {
  return Object.hasOwn(TAR_TYPES, mediaType) ? TAR_TYPES[mediaType] : undefined;
}

/** Whether a media type is that of an index or a manifest list. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === INDEX_TYPE || mediaType === DOCKER_INDEX_TYPE;
}

/** Whether a media type is that of an image manifest. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === MANIFEST_TYPE || mediaType === DOCKER_MANIFEST_TYPE;
}

/** Whether a config of this media type makes a manifest a container image. */
export function isImageConfigType(mediaType: string): boolean {
  return mediaType === CONFIG_TYPE || mediaType === DOCKER_CONFIG_TYPE;
}

/** Media types of layers that are signatures. */
const SIGNATURE_TYPES: readonly string[] = [
  "application/vnd.dev.cosign.simplesigning.v1+json",
  "application/vnd.dev.sigstore.bundle.v0.3+json",
];

/** Whether a layer of this media type is a signature. */
export function isSignatureLayer(mediaType: string): boolean {
  return SIGNATURE_TYPES.includes(mediaType);
}

/** Annotation of an index entry that holds its tag. */
export const REF_NAME_ANNOTATION = "org.opencontainers.image.ref.name";
