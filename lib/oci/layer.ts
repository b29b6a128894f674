/** Single layers: reading them back, and importing one from a stream (spec: oci 4). */
import {
  Digest,
  DigestMismatchError,
  nodeHash,
  nodeZstd,
  NotFoundError,
  type ObjectId,
  type ProgressSink,
  toHex,
  Turns,
} from "../base/mod.ts";
import {
  checkRefName,
  forgetHealed,
  healingWrites,
  ObjectDirectory,
  type OpenStream,
  type Repository,
  soundObjects,
} from "../repository/mod.ts";
import { CONTENT_TYPE, SplitstreamWriter } from "../splitstream/mod.ts";
import { readLayerEntries, type TarEntry, TarSplitter } from "../tar/mod.ts";
import { digestHash } from "../transport/mod.ts";
import { hasWholeLayer, isSplitTar } from "./image.ts";
import { LayerObjects } from "./layer_objects.ts";
import { layerStream } from "./tags.ts";

/** Opens a layer by its diff_id. */
export function openLayer(repository: Repository, diffId: Digest): OpenStream {
  const name = layerStream(diffId);
  if (repository.streamObject(name) === undefined) {
    throw new NotFoundError("layer", diffId.toString(), { message: `Layer ${diffId} not found` });
  }
  return repository.openStream(name);
}

/** The entries of a layer in the order of its tar. */
export function layerEntries(
  repository: Repository,
  diffId: Digest,
): Generator<TarEntry, void, undefined> {
  const stream = repository.openStreamObject(openLayer(repository, diffId).id, {
    contentType: CONTENT_TYPE.ociLayer,
  });
  return readLayerEntries(stream);
}

/** Facts of a layer, as `oci layer --json` prints them. */
export interface LayerInfo {
  /** Digest of the unpacked layer. */
  readonly diffId: string;
  /** Object id of its splitstream. */
  readonly verity: ObjectId;
  /** Size of the tar in bytes. */
  readonly size: number;
  /** Number of entries. */
  readonly entryCount: number;
  /** How the bytes are spread. */
  readonly splitstream: {
    /** Distinct objects. */
    readonly externalObjects: number;
    /** Bytes in objects, each occurrence counted. */
    readonly externalSize: number;
    /** Bytes in the splitstream itself. */
    readonly inlineSize: number;
  };
}

/** Collects the facts of a layer. */
export function layerInfo(repository: Repository, diffId: Digest): LayerInfo {
  const stream = openLayer(repository, diffId);
  let entryCount = 0;
  let externalSize = 0;
  for (const { item } of layerEntries(repository, diffId)) {
    entryCount++;
    if (item.type === "external") externalSize += item.size;
  }
  const size = Number(stream.streamSize);
  return {
    diffId: diffId.toString(),
    verity: stream.id,
    size,
    entryCount,
    splitstream: {
      externalObjects: stream.objectRefs.length,
      externalSize,
      inlineSize: Math.max(0, size - externalSize),
    },
  };
}

/** An imported layer. */
export interface ImportLayerResult {
  /** Object id of its splitstream. */
  readonly stream: ObjectId;
  /** Whether it was there already; the input was not read then. */
  readonly existed: boolean;
}

/**
 * Imports an uncompressed tar stream under its diff_id; the content is hashed and must match.
 *
 * @param options.name reference to make below `streams/refs`
 * @param options.progress told the bytes that were read, below the diff_id
 * @throws {DigestMismatchError} when it is another layer; nothing is registered
 */
export async function importLayerStream(
  repository: Repository,
  diffId: Digest,
  options: { input: AsyncIterable<Uint8Array>; name?: string; progress?: ProgressSink },
): Promise<ImportLayerResult> {
  const { progress } = options;
  const id = diffId.toString();
  repository.assertWritable();
  const name = layerStream(diffId);
  const hash = nodeHash.stream(digestHash(diffId));
  if (options.name !== undefined) checkRefName(options.name);
  // A layer that is damaged is imported again, which repairs it.
  const existing = hasWholeLayer(repository, diffId, {
    accepts: isSplitTar,
    isThere: soundObjects(repository),
  });
  const ref = options.name === undefined ? {} : { ref: options.name };
  if (existing !== undefined) {
    progress?.({ type: "skipped", id });
    if (options.name !== undefined) repository.setRef("streams", options.name, { entry: name });
    return { stream: existing, existed: true };
  }
  const directory = new ObjectDirectory(healingWrites(repository));
  using writer = new SplitstreamWriter({
    algorithm: repository.algorithm,
    contentType: CONTENT_TYPE.ociLayer,
    codec: nodeZstd,
  });
  using objects = new LayerObjects(writer, {
    directory,
    digestSize: repository.algorithm.size,
    credits: new SharedArrayBuffer(4),
    handOver: () => {},
  });
  const splitter = new TarSplitter(objects);
  let bytes = 0;
  const turns = new Turns();
  for await (const piece of options.input) {
    if (bytes === 0) progress?.({ type: "started", id, unit: "bytes" });
    hash.update(piece);
    splitter.push(piece);
    bytes += piece.length;
    if (!turns.due) continue;
    progress?.({ type: "progress", id, done: bytes });
    await turns.give();
  }
  splitter.finish();
  objects.finish();
  const actual = `${diffId.algorithm}:${toHex(hash.digest())}`;
  if (actual !== diffId.toString()) {
    throw new DigestMismatchError("input", diffId.toString(), actual, {
      message: `layer content does not match declared diff_id: expected ${diffId}, got ${actual}`,
    });
  }
  const stream = repository.writeStream(name, writer.finish(), ref);
  forgetHealed(repository, name, (text) => progress?.({ type: "warning", text }));
  if (bytes > 0) progress?.({ type: "done", id, transferred: bytes });
  return { stream, existed: false };
}

/** Digest of a layer's content as it is stored, by the algorithm of `id`. */
export function hashLayer(repository: Repository, id: Digest, stream: OpenStream): Digest {
  const hash = nodeHash.stream(digestHash(id));
  for (const piece of repository.streamContent(stream)) hash.update(piece);
  return Digest.parse(`${id.algorithm}:${toHex(hash.digest())}`);
}
