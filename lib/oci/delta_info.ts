/** Looking into a delta without applying it (spec: oci 7.1, 7.2). */
import { type Digest, FormatError, UnsupportedError, withContext } from "../base/mod.ts";
import {
  OperationBudget,
  TAR_DIFF_OP,
  TAR_DIFF_TYPE,
  type TarDiffOp,
  TarDiffReader,
  tarDiffText,
} from "../delta/mod.ts";
import {
  type Blob,
  type Descriptor,
  type ImageSource,
  nativePlatform,
  openSource,
  parseConfig,
  type Platform,
  type SourceOptions,
  unpack,
} from "../transport/mod.ts";
import { isDelta, parseDelta, readDeltaTarget } from "./delta_artifact.ts";
import { blobPieces } from "./blob_pieces.ts";
import { Check } from "./digest_check.ts";

/** What the operations of one kind come to. */
export interface OperationCount {
  /** How many there are. */
  readonly count: number;
  /** Bytes that they make; 0 for OPEN and SEEK. */
  readonly bytes: number;
}

/** The operations of a tar-diff. */
export interface TarDiffFacts {
  /** By kind. */
  readonly operations: Readonly<Record<keyof typeof TAR_DIFF_OP, OperationCount>>;
  /** Files of the old image that are opened, each counted once. */
  readonly sources: number;
  /** Bytes of the layer that comes out. */
  readonly outputSize: number;
}

/** A layer of the target that is in the delta. */
export interface DeltaLayerInfo {
  /** Digest of its tar. */
  readonly diffId: Digest;
  /** The layer in the target. */
  readonly layer: Descriptor;
  /** The blob in the delta. */
  readonly blob: Descriptor;
  /** What is in it; `undefined` when it is no tar-diff, or not on this machine. */
  readonly tarDiff: TarDiffFacts | undefined;
}

/** What a delta is. */
export interface DeltaInfo {
  /** Digest of its manifest. */
  readonly digest: Digest;
  /** Type of the artifact. */
  readonly artifactType: string;
  /** Config digest of the image that it starts from. */
  readonly sourceConfig: Digest;
  /** Manifest digest of the image that it makes. */
  readonly target: Digest;
  /** Config digest of the image that it makes. */
  readonly targetConfig: Digest;
  /** The layers that it has. */
  readonly layers: readonly DeltaLayerInfo[];
  /** Digests of the layers that the old image has to have, as tars. */
  readonly reused: readonly Digest[];
  /** Number of signatures in it. */
  readonly signatures: number;
  /** Bytes of its layers' blobs. */
  readonly size: number;
  /** Bytes of the layers that they stand for, as the target has them. */
  readonly layerSize: number;
}

/** How a delta is looked into. */
export interface DeltaInfoOptions extends SourceOptions {
  /** Platform to choose from an index. @default the one this program runs on */
  readonly platform?: Platform | undefined;
}

/** More different files than this are in no image. */
const MAX_SOURCES = 1_000_000;

/**
 * Reads what a delta says and does. Blobs on this machine are checked against their digests and
 * read through; those of a registry stay there.
 *
 * @param reference image reference of the delta
 * @throws {UnsupportedError} for what is no delta
 * @throws {FormatError} for one that could not be applied whatever the old image
 */
export async function readDeltaInfo(
  reference: string,
  options: DeltaInfoOptions = {},
): Promise<DeltaInfo> {
  await using source = await openSource(reference, options);
  try {
    const selected = await source.resolve({ platform: options.platform ?? nativePlatform() });
    const { manifest } = selected;
    if (!isDelta(manifest)) throw new UnsupportedError(`${reference} is no delta`);
    const delta = parseDelta(manifest);
    const target = await readDeltaTarget(source, delta);
    const wanted = target.selected.manifest.layers;
    const { diffIds } = parseConfig(target.configBytes);
    if (diffIds.length !== wanted.length) {
      throw new FormatError(
        "image config",
        `diff_id count (${diffIds.length}) doesn't match layer count (${wanted.length})`,
      );
    }
    const layers: DeltaLayerInfo[] = [];
    const reused: Digest[] = [];
    const seen = new Set<string>();
    for (const [i, layer] of wanted.entries()) {
      const key = layer.digest.toString();
      if (seen.has(key)) continue;
      seen.add(key);
      const blob = delta.layers.get(key);
      const diffId = diffIds[i]!;
      if (blob === undefined) reused.push(diffId);
      else layers.push({ diffId, layer, blob, tarDiff: await tarDiffOf(source, blob) });
    }
    return {
      digest: selected.descriptor.digest,
      artifactType: manifest.artifactType || manifest.config.mediaType,
      sourceConfig: delta.sourceConfig,
      target: target.selected.descriptor.digest,
      targetConfig: target.selected.manifest.config.digest,
      layers,
      reused,
      signatures: delta.signatures.length,
      size: layers.reduce((sum, { blob }) => sum + blob.size, 0),
      layerSize: layers.reduce((sum, { layer }) => sum + layer.size, 0),
    };
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw withContext(`Unable to read delta ${reference}`, cause);
  }
}

async function tarDiffOf(
  source: ImageSource,
  descriptor: Descriptor,
): Promise<TarDiffFacts | undefined> {
  if (descriptor.mediaType !== TAR_DIFF_TYPE || source.remote) return undefined;
  using blob = await source.blob(descriptor);
  const check = new Check(descriptor.digest.toString(), "blob");
  try {
    const facts = await countOperations(hashed(blob, check));
    check.finish();
    return facts;
  } catch (cause) {
    throw withContext(`Reading blob ${descriptor.digest}`, cause);
  }
}

function* hashed(blob: Blob, check: Check): Generator<Uint8Array, void, undefined> {
  const { fd, offset, size } = blob;
  for (const piece of blobPieces({ fd: fd.number, offset, size })) {
    check.update(piece);
    yield piece;
  }
}

/** Reads a tar-diff through and counts. */
async function countOperations(packed: Iterable<Uint8Array>): Promise<TarDiffFacts> {
  const counts = new Map<TarDiffOp, { count: number; bytes: number }>();
  const paths = new Set<string>();
  const reader = new TarDiffReader();
  const budget = new OperationBudget();
  for await (const text of tarDiffText(packed, (pieces) => unpack(pieces, "zstd"))) {
    reader.feed(text);
    for (let step = reader.next(); step !== "more"; step = reader.next()) {
      if (!reader.first) continue;
      let entry = counts.get(step);
      if (entry === undefined) counts.set(step, entry = { count: 0, bytes: 0 });
      entry.count++;
      if (step === TAR_DIFF_OP.open || step === TAR_DIFF_OP.seek) budget.rest();
      else {
        entry.bytes += reader.n;
        budget.produce(reader.n);
      }
      if (step !== TAR_DIFF_OP.open) continue;
      paths.add(reader.path);
      if (paths.size > MAX_SOURCES) {
        throw new FormatError("tar-diff", `More than ${MAX_SOURCES} files are opened`);
      }
    }
  }
  reader.finish();
  const of = (op: TarDiffOp) => counts.get(op) ?? { count: 0, bytes: 0 };
  const { data, open, copy, add, seek } = TAR_DIFF_OP;
  return {
    operations: { data: of(data), open: of(open), copy: of(copy), add: of(add), seek: of(seek) },
    sources: paths.size,
    outputSize: budget.produced,
  };
}
