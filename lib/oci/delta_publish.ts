/** Putting a delta that was made into its place (spec: oci 7.1, 7.6). */
import { type Digest, FormatError } from "../base/mod.ts";
import { preadFull, pwriteAll } from "../../ffi/mod.ts";
import type { GatheredSignatures } from "./delta_embed.ts";
import { blobHead } from "./blob_pieces.ts";
import type { DeltaImage } from "./delta_image.ts";
import { type DeltaBlob, deltaManifest, EMPTY_CONFIG, sha256 } from "./delta_manifest.ts";
import type { Stretch } from "./delta_scan.ts";
import {
  type Compression,
  type Descriptor,
  type ImageDestination,
  sniffCompression,
  tarCompression,
} from "../transport/mod.ts";

/** A layer of the new image that the old one does not have. */
export interface CreatedLayer {
  /** Digest of its tar. */
  readonly diffId: Digest;
  /** Digest of the packed layer in the new image. */
  readonly layer: Digest;
  /** Its size in bytes. */
  readonly layerSize: number;
  /** Blob of the delta. */
  readonly blob: Digest;
  /** Media type of that: a tar-diff, or a layer as it is. */
  readonly mediaType: string;
  /** Its size in bytes. */
  readonly size: number;
}

/** What making a delta came to. */
export interface DeltaCreateResult {
  /** Digest of the delta's manifest. */
  readonly manifestDigest: Digest;
  /** Manifest digest of the new image. */
  readonly target: Digest;
  /** Manifest digest of the old image. */
  readonly source: Digest;
  /** The layers that are in the delta. */
  readonly layers: readonly CreatedLayer[];
  /** Number of layers that the images share. */
  readonly reused: number;
  /** Number of manifests with signatures of the new image that go along. */
  readonly signatures: number;
  /** Bytes of all blobs. */
  readonly size: number;
  /** Bytes of the layers that they stand for, as the new image has them. */
  readonly layerSize: number;
}

/** A blob of the delta before it is in its place. */
export interface MadeBlob {
  /** Digest of the layer's tar. */
  readonly diffId: Digest;
  /** The layer in the new image. */
  readonly layer: Descriptor;
  /** Where its bytes are. */
  readonly from: Stretch;
  /** Digest of the blob. */
  readonly digest: Digest;
  /** Its media type. */
  readonly mediaType: string;
}

const PIECE = 2 ** 20;
/** Media types of a tar layer by how it is packed. */
const LAYER_TYPES: Readonly<Record<Compression, string>> = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
};

/**
 * Stores the blobs, makes the manifest that leads to them, and publishes it.
 *
 * @param images the images, and where the delta goes
 */
export async function publishDelta(
  images: { old: DeltaImage; fresh: DeltaImage; destination: ImageDestination },
  delta: {
    made: readonly MadeBlob[];
    signatures: readonly GatheredSignatures[];
    artifactType: string;
    signal: AbortSignal | undefined;
  },
): Promise<DeltaCreateResult> {
  const { old, destination } = images;
  const { config, manifest, descriptor, manifestBytes, configBytes } = images.fresh;
  const known = new Set(old.config.diffIds.map(String));
  await destination.document(manifestBytes, descriptor.digest);
  await destination.document(configBytes, manifest.config.digest);
  const blobs = new Map<string, MadeBlob>();
  for (const blob of delta.made) {
    blobs.set(blob.diffId.toString(), blob);
    await storeBlob(destination, blob);
  }
  await destination.document(EMPTY_CONFIG, sha256(EMPTY_CONFIG));
  for (const { manifest, contents } of delta.signatures) {
    for (const { bytes, digest } of [manifest, ...contents]) {
      await destination.document(bytes, digest);
    }
  }
  const layers = new Map<string, DeltaBlob>();
  const reused = new Map<string, { digest: Digest; diffId: Digest }>();
  for (const [i, diffId] of config.diffIds.entries()) {
    const { digest } = manifest.layers[i]!;
    if (known.has(diffId.toString())) {
      reused.set(digest.toString(), { digest, diffId });
      continue;
    }
    const { from, digest: blob, mediaType } = blobs.get(diffId.toString())!;
    layers.set(digest.toString(), { mediaType, digest: blob, size: from.size, to: digest });
  }
  const artifact = deltaManifest({
    artifactType: delta.artifactType,
    source: old.descriptor.digest,
    sourceConfig: old.manifest.config.digest,
    target: descriptor,
    config: manifest.config,
    layers: [...layers.values()],
    reused: [...reused.values()],
    signatures: delta.signatures,
  });
  delta.signal?.throwIfAborted();
  await destination.finish(artifact);
  const created = delta.made.map((blob): CreatedLayer => ({
    diffId: blob.diffId,
    layer: blob.layer.digest,
    layerSize: blob.layer.size,
    blob: blob.digest,
    mediaType: blob.mediaType,
    size: blob.from.size,
  }));
  return {
    manifestDigest: artifact.descriptor.digest,
    target: descriptor.digest,
    source: old.descriptor.digest,
    layers: created,
    reused: reused.size,
    signatures: delta.signatures.length,
    size: created.reduce((sum, { size }) => sum + size, 0),
    layerSize: created.reduce((sum, { layerSize }) => sum + layerSize, 0),
  };
}

/** Puts a blob into the destination, unless it is there. */
async function storeBlob(
  destination: ImageDestination,
  { from, digest }: MadeBlob,
): Promise<void> {
  const known = { digest, size: from.size };
  if (await destination.has(known)) return;
  using slot = destination.reserve(known);
  const piece = new Uint8Array(PIECE);
  for (let done = 0; done < from.size;) {
    const wanted = Math.min(PIECE, from.size - done);
    const got = preadFull(from.fd, piece.subarray(0, wanted), from.offset + done);
    if (got !== wanted) throw new FormatError("blob", "A file changed while it was read");
    pwriteAll(slot.fd, piece.subarray(0, got), slot.offset + done);
    done += got;
  }
  await destination.commit(slot, known);
}

/** Media type of a layer that goes as it is: appliers go by it, so it has to be true. */
export function originalType(announced: string, blob: Stretch): string {
  const actual = sniffCompression(blobHead(blob));
  const isOci = announced.startsWith("application/vnd.oci.");
  return isOci && tarCompression(announced) === actual ? announced : LAYER_TYPES[actual];
}
