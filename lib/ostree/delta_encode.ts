/** How files get into static deltas: whole, as runs of an old file, or as a patch; on any thread. */
import { createHash } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import { FormatError, type ObjectId } from "../base/mod.ts";
import { addressable, forgetAddress, preadFull } from "../../ffi/mod.ts";
import type { DiskObjectStore } from "../repository/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import { PatchMaker } from "./delta_patch_write.ts";
import { FRAME_SIZE, streamHeaderOf } from "./file_header.ts";
import { type ObjectPlace, PlacedObjects } from "./object_place.ts";
import { corruptedObject } from "./object_kind.ts";
import { sharedRuns } from "./shared_runs.ts";

/** Content of a file object. */
export interface StoredFileContent {
  /** The file object. */
  readonly checksum: Checksum;
  /** The object that holds its content. */
  readonly external: ObjectId;
  /** Bytes of it. */
  readonly size: number;
  /** Its framed archive header as stored. */
  readonly framed: Uint8Array;
}

/** A file that a delta is to make. */
export interface FileToEncode extends StoredFileContent {
  /** A file of the base that it may be like. */
  readonly source: StoredFileContent | undefined;
}

/** Files for a delta, as sent to a worker. */
export interface EncodeTask {
  /** Where contents are. */
  readonly place: ObjectPlace;
  /** The files. */
  readonly files: readonly FileToEncode[];
  /** Largest file that is patched, and that is patched from; in bytes. */
  readonly maxPatchSize: number;
}

/** How a file is made by a delta. */
export interface EncodedFile {
  /** Bytes of its content. */
  readonly size: number;
  /** The file of the base that it is made from; `undefined` when the payload is its content. */
  readonly source: Checksum | undefined;
  /** Whether the payload is a patch. */
  readonly patch: boolean;
  /** Runs that are the source's: where in the new file, where in the source, how many bytes. */
  readonly runs: readonly number[];
  /** Its payload: a patch, or all that is in no run. */
  readonly payload: Uint8Array;
}

/** Encoded files, packed for the way between threads. */
export interface EncodedFiles {
  /** Payloads one after the other. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The files in the order of the task; each payload by its size. */
  readonly files: readonly (Omit<EncodedFile, "payload"> & { readonly payloadSize: number })[];
}

/** Level of compression at which encodings are compared: fast, and fair enough. */
const LEVEL = 1;
/** What a run costs besides, packed. */
const RUN_COST = 6;
/** So little need not be compared with anything. */
const LITTLE = 128;

let patches: PatchMaker | undefined;

/**
 * Encodes files.
 *
 * @throws {DigestMismatchError} when a stored file is damaged
 */
export function encodeFiles(task: EncodeTask): EncodedFiles {
  using placed = new PlacedObjects(task.place);
  const encoded = task.files.map((file) => encodeFile(placed.objects, file, task.maxPatchSize));
  const files = encoded.map(({ payload, ...rest }) => ({ ...rest, payloadSize: payload.length }));
  return { bytes: joinPayloads(encoded), files };
}

function joinPayloads(encoded: readonly EncodedFile[]): Uint8Array<ArrayBuffer> {
  const [first] = encoded;
  if (encoded.length === 1 && first!.payload.byteLength === first!.payload.buffer.byteLength) {
    // A large file is not copied; its buffer is going to be another thread's.
    forgetAddress();
    return first!.payload as Uint8Array<ArrayBuffer>;
  }
  const bytes = new Uint8Array(encoded.reduce((sum, { payload }) => sum + payload.length, 0));
  let at = 0;
  for (const { payload } of encoded) {
    bytes.set(payload, at);
    at += payload.length;
  }
  return bytes;
}

/** The files of a batch; their payloads are views of it. */
export function* unpackEncoded(
  { bytes, files }: EncodedFiles,
): Generator<EncodedFile, void, undefined> {
  let at = 0;
  for (const { payloadSize, ...rest } of files) {
    yield { ...rest, payload: bytes.subarray(at, at + payloadSize) };
    at += payloadSize;
  }
}

function encodeFile(
  objects: DiskObjectStore,
  file: FileToEncode,
  maxPatchSize: number,
): EncodedFile {
  const { source } = file;
  if (source?.external === file.external) return sameContent(objects, file, source.checksum);
  const fresh = readContent(objects, file);
  const whole = { size: fresh.length, source: undefined, patch: false, runs: [], payload: fresh };
  if (source === undefined) return whole;
  const from = { size: fresh.length, source: source.checksum };
  const old = readContent(objects, source);
  const runs = sharedRuns(old, fresh).flatMap(({ at, from, length }) => [at, from, length]);
  const left = literals(fresh, runs);
  const pieces = { ...from, patch: false, runs, payload: left };
  if (runs.length > 0 && left.length <= LITTLE) return pieces;
  const patchable = Math.max(old.length, fresh.length) <= maxPatchSize;
  const payload = patchable ? (patches ??= new PatchMaker()).make(old, fresh) : undefined;
  let best: EncodedFile = whole;
  let least = cost(whole);
  if (runs.length > 0 && cost(pieces) <= least) {
    best = pieces;
    least = cost(pieces);
  }
  if (payload === undefined) return best;
  const patch = { ...from, patch: true, runs: [], payload };
  return cost(patch) < least ? patch : best;
}

/** A file whose owner, mode or attributes are all that changed; it may be of any size. */
function sameContent(
  objects: DiskObjectStore,
  file: FileToEncode,
  source: Checksum,
): EncodedFile {
  const { checksum, framed, external, size } = file;
  const hash = createHash("sha256").update(streamHeaderOf(framed.subarray(FRAME_SIZE)));
  for (const piece of objects.pieces(external)) hash.update(piece);
  const actual = hash.digest("hex") as Checksum;
  if (actual !== checksum) throw corruptedObject("file", checksum, actual);
  return { size, source, patch: false, runs: [0, 0, size], payload: new Uint8Array(0) };
}

/** What an encoding takes, packed; near enough to compare it with others of the same file. */
function cost({ payload, runs }: EncodedFile): number {
  return deflateRawSync(payload, { level: LEVEL }).length + RUN_COST * runs.length / 3;
}

/** Content that is what its checksum says: a delta from anything else could not be applied. */
function readContent(objects: DiskObjectStore, content: StoredFileContent): Uint8Array {
  const { external, size, checksum, framed } = content;
  const { fd } = objects.open(external);
  using _fd = fd;
  const bytes = addressable(size);
  if (preadFull(fd, bytes, 0) !== size) {
    throw new FormatError("ostree file", `Object of file ${checksum} is cut off`);
  }
  const actual = checksumOf(streamHeaderOf(framed.subarray(FRAME_SIZE)), bytes);
  if (actual !== checksum) throw corruptedObject("file", checksum, actual);
  return bytes;
}

/** What is in no run. */
function literals(fresh: Uint8Array, runs: readonly number[]): Uint8Array {
  let covered = 0;
  for (let i = 2; i < runs.length; i += 3) covered += runs[i]!;
  const out = new Uint8Array(fresh.length - covered);
  let at = 0;
  let done = 0;
  for (let i = 0; i < runs.length; i += 3) {
    const start = runs[i]!;
    out.set(fresh.subarray(done, start), at);
    at += start - done;
    done = start + runs[i + 2]!;
  }
  out.set(fresh.subarray(done), at);
  return out;
}
