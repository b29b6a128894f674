/**
 * What is fixed about deltas: the bytes of tar-diff, and the names in the artifact around it
 * (spec: oci 7.1, 7.2).
 *
 * @module
 */

/** First bytes of a tar-diff; zstd frames follow. */
export const TAR_DIFF_MAGIC: Uint8Array = Uint8Array.of(
  0x74,
  0x61,
  0x72,
  0x64,
  0x66,
  0x31,
  0x0a,
  0x00,
);

/** Codes of the operations; each is followed by a number, and some by that many bytes. */
export const TAR_DIFF_OP = { data: 0, open: 1, copy: 2, add: 3, seek: 4 } as const;

/** One of {@linkcode TAR_DIFF_OP}. */
export type TarDiffOp = typeof TAR_DIFF_OP[keyof typeof TAR_DIFF_OP];

/** What a reader takes and a writer must keep to. */
export const TAR_DIFF_LIMITS = {
  /** Bytes of a path. */
  path: 4096,
  /** Bytes of one ADD; the reference's limit. */
  add: 104_857_600,
  /** Bytes of a number: LEB128 of 64 bits. */
  number: 10,
  /** Operations in one tar-diff that do nothing at all. */
  emptyOperations: 10_000_000,
  /** Logarithm of the largest zstd window. */
  windowLog: 27,
} as const;

/** Artifact type that the reference takes; what is made here has it. */
export const DELTA_TYPE = "application/vnd.io.github.containers.oci-delta.v1";
/** Artifact type that the released generator writes and takes. */
export const DELTA_TYPE_REDHAT = "application/vnd.redhat.oci-delta.v1";
/** All types of delta artifacts. */
export const DELTA_TYPES: readonly string[] = [DELTA_TYPE_REDHAT, DELTA_TYPE];

/** Media type of a tar-diff blob. */
export const TAR_DIFF_TYPE = "application/vnd.tar-diff";

/** Annotations of the delta manifest and of its layers. */
export const DELTA_ANNOTATION = {
  /** Manifest digest of the image that comes out. */
  target: "io.github.containers.delta.target",
  /** Manifest digest of the image that it starts from. */
  source: "io.github.containers.delta.source",
  /** Config digest of the image that it starts from. */
  sourceConfig: "io.github.containers.delta.source-config",
  /** JSON array: digests of layers that the old image has too. */
  reused: "io.github.containers.delta.reused",
  /** JSON array: their diff_ids, in the same order. */
  reusedDiffId: "io.github.containers.delta.reused-diff-id",
  /** What a layer of the artifact is; see {@linkcode DELTA_CONTENT}. */
  content: "io.github.containers.delta.content",
  /** Digest of the layer that a blob is about. */
  to: "io.github.containers.delta.to",
} as const;

/** What the layers of a delta artifact can be. */
export const DELTA_CONTENT = {
  /** The target's manifest, verbatim. */
  manifest: "image-manifest",
  /** The target's config, verbatim. */
  config: "image-config",
  /** How to get one layer. */
  layer: "image-layer",
  /** Manifest of a signature of the target. */
  signature: "cosign-signature",
  /** Blob that such a manifest refers to. */
  signatureContent: "cosign-signature-content",
} as const;
