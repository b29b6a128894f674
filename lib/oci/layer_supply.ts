/** How the layers of an image are come by: strategies that can be chosen among. */
import { type Digest, DigestMismatchError, FormatError, withContext } from "../base/mod.ts";
import type { ObjectDirectoryOptions, OpenStream } from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import type { Blob, Compression, Descriptor, ImageSource } from "../transport/mod.ts";
import { isSplitTar } from "./image.ts";
import type { BlobTask } from "./blob_pieces.ts";
import type { ImportedLayer } from "./layer_import.ts";
import type { LayerPool } from "./layer_pool.ts";

/** A layer as it is wanted: its identity and where it is. */
export interface WantedLayer {
  /** diff_id, or digest of an artifact's blob. */
  readonly id: Digest;
  /** The blob in the source. */
  readonly descriptor: Descriptor;
  /** Packing that its media type announces; `undefined` for a blob that is not split. */
  readonly tar: Compression | undefined;
}

/** What a strategy has at hand. */
export interface SupplyContext {
  /** Threads that import. */
  readonly pool: LayerPool;
  /** Where objects go. */
  readonly objects: ObjectDirectoryOptions;
  /** Put back zeros that a faulty encoder has dropped. @default false */
  readonly repairPadding?: boolean | undefined;
  /** Aborted when the layers are of no use any more. */
  readonly signal: AbortSignal;
}

/** A layer that is stored, and what is to be told when it has its name. */
export interface SuppliedLayer extends ImportedLayer {
  /** Gives up what was kept to go on with later. */
  release?(): void;
}

/** Comes by a layer: stores it, all digests checked, without a name. */
export type LayerSupply = (layer: WantedLayer, context: SupplyContext) => Promise<SuppliedLayer>;

/** Layers from their blobs as a source has them. */
export function wholeBlobs(source: ImageSource): LayerSupply {
  return (layer, context) =>
    supplyFromBlob(source, layer.descriptor, {
      ...context,
      work: (blob) => {
        const { descriptor, id, tar } = layer;
        return context.pool.import("import-layer", {
          blob: blobTask(blob),
          digest: descriptor.digest.toString(),
          tar,
          diffId: id === descriptor.digest ? undefined : id.toString(),
          objects: context.objects,
          repairPadding: context.repairPadding,
        }, { id: id.toString(), total: blob.size, arrives: blob.arrival ?? false });
      },
    });
}

/** A blob as its worker gets it. */
export function blobTask(blob: Blob): BlobTask {
  const { fd, offset, size, arrival } = blob;
  return { fd: fd.number, offset, size, arrived: arrival?.memory };
}

/**
 * Comes by a layer from a blob, and once more when the blob that does not fit was gone on with from
 * an earlier run, or may be had from elsewhere.
 *
 * @param context.work imports the layer; all of the blob is verified when it succeeds
 */
export async function supplyFromBlob(
  source: ImageSource,
  descriptor: Descriptor,
  context: {
    readonly signal: AbortSignal;
    readonly work: (blob: Blob) => Promise<ImportedLayer>;
  },
): Promise<SuppliedLayer> {
  for (;;) {
    using blob = await source.blob(descriptor, context);
    try {
      const imported = await context.work(blob);
      return { ...imported, release: () => blob.release?.() };
    } catch (error) {
      // Who reads a blob that does not arrive can only say that it did not.
      if (blob.arrival?.failure !== undefined) {
        throw withContext(`Fetching blob ${descriptor.digest}`, blob.arrival.failure);
      }
      if (!(error instanceof DigestMismatchError || error instanceof FormatError)) throw error;
      // What is wrong is not gone on with, neither now nor later; the next one starts anew.
      blob.release?.();
      if (!blob.resumed && !await blob.distrust?.()) throw error;
    }
  }
}

/** Whether what is stored under a layer's name is what is wanted. */
export function standsFor(stream: OpenStream, layer: WantedLayer): boolean {
  const { id, descriptor, tar } = layer;
  const isArtifact = id === descriptor.digest;
  if (!isArtifact) return isSplitTar(stream);
  // The blob as it is serves every artifact; unpacked, it is only what a tar layer asks for.
  if (stream.contentType === CONTENT_TYPE.ociBlob || tar !== undefined) return true;
  return stream.streamSize === BigInt(descriptor.size);
}
