/** Writing the manifest of a delta artifact (spec: oci 7.1). */
import { Digest, nodeHash, toHex } from "../base/mod.ts";
import { DELTA_ANNOTATION, DELTA_CONTENT } from "../delta/mod.ts";
import {
  CONFIG_TYPE,
  type Descriptor,
  MANIFEST_TYPE,
  type PushedManifest,
} from "../transport/mod.ts";

/** Media type, digest and size of a blob. */
export type BlobName = Pick<Descriptor, "mediaType" | "digest" | "size">;

/** A layer of the artifact: how to get one layer of the target. */
export interface DeltaBlob extends BlobName {
  /** Digest of the target's layer. */
  readonly to: Digest;
}

/** A manifest of the target's signatures, and the blobs that it names. */
export interface SignatureNames {
  /** The manifest. */
  readonly manifest: BlobName;
  /** Its config and its layers. */
  readonly contents: readonly BlobName[];
}

/** What a delta's manifest tells. */
export interface DeltaFacts {
  /** Type of artifact. */
  readonly artifactType: string;
  /** Manifest digest of the old image. */
  readonly source: Digest;
  /** Config digest of the old image. */
  readonly sourceConfig: Digest;
  /** Manifest of the target. */
  readonly target: BlobName;
  /** Config of the target. */
  readonly config: BlobName;
  /** How to get the layers that the old image does not have, in the target's order. */
  readonly layers: readonly DeltaBlob[];
  /** Layers that it has. */
  readonly reused: readonly { readonly digest: Digest; readonly diffId: Digest }[];
  /** Signatures of the target. */
  readonly signatures: readonly SignatureNames[];
}

/** The config of artifacts that need none. */
export const EMPTY_CONFIG: Uint8Array = new TextEncoder().encode("{}");
const EMPTY_TYPE = "application/vnd.oci.empty.v1+json";

/** SHA-256 digest of bytes. */
export function sha256(bytes: Uint8Array): Digest {
  const hash = nodeHash.stream("sha256");
  hash.update(bytes);
  return Digest.parse(`sha256:${toHex(hash.digest())}`);
}

/** A descriptor as it stands in the document. */
function entry({ mediaType, digest, size }: BlobName, annotations?: Record<string, string>) {
  return {
    mediaType,
    digest: digest.toString(),
    size,
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** Writes the manifest with its fields in the generator's order, annotations sorted. */
export function deltaManifest(facts: DeltaFacts): PushedManifest {
  const { content, to } = DELTA_ANNOTATION;
  const annotations: Record<string, string> = {};
  if (facts.reused.length > 0) {
    annotations[DELTA_ANNOTATION.reused] = JSON.stringify(
      facts.reused.map((one) => one.digest.toString()),
    );
    annotations[DELTA_ANNOTATION.reusedDiffId] = JSON.stringify(
      facts.reused.map((one) => one.diffId.toString()),
    );
  }
  annotations[DELTA_ANNOTATION.source] = facts.source.toString();
  annotations[DELTA_ANNOTATION.sourceConfig] = facts.sourceConfig.toString();
  annotations[DELTA_ANNOTATION.target] = facts.target.digest.toString();
  const target = { ...facts.target, mediaType: MANIFEST_TYPE };
  const config = { ...facts.config, mediaType: CONFIG_TYPE };
  const manifest = {
    schemaVersion: 2,
    artifactType: facts.artifactType,
    config: entry({
      mediaType: EMPTY_TYPE,
      digest: sha256(EMPTY_CONFIG),
      size: EMPTY_CONFIG.length,
    }),
    layers: [
      entry(target, { [content]: DELTA_CONTENT.manifest }),
      entry(config, { [content]: DELTA_CONTENT.config }),
      ...facts.layers.map((layer) =>
        entry(layer, { [content]: DELTA_CONTENT.layer, [to]: layer.to.toString() })
      ),
      ...facts.signatures.flatMap(({ manifest, contents }) => [
        entry(manifest, { [content]: DELTA_CONTENT.signature }),
        ...contents.map((one) => entry(one, { [content]: DELTA_CONTENT.signatureContent })),
      ]),
    ],
    subject: entry(target),
    annotations,
  };
  const bytes = new TextEncoder().encode(JSON.stringify(manifest));
  return {
    descriptor: { mediaType: MANIFEST_TYPE, digest: sha256(bytes), size: bytes.length },
    bytes,
    artifactType: facts.artifactType,
    subject: facts.target.digest,
  };
}
