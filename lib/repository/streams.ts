/** Streams: splitstreams by content id (spec: repository 7, 10). */
import {
  FormatError,
  nodeZstd,
  NotFoundError,
  type ObjectId,
  objectPath,
  withContext,
} from "../base/mod.ts";
import { openSplitstream, type Splitstream, SplitstreamWriter } from "../splitstream/mod.ts";
import { assertWritable, type RepositoryState, syncRepository } from "./_state.ts";
import { entryObject } from "./entries.ts";
import { placeLink, readLinkText } from "./links.ts";
import { checkEntryName, checkRefName } from "./names.ts";
import type { ObjectReader } from "./objects.ts";

/** Object of the stream `name`: a content id, or `refs/…`. `undefined` when it is not there. */
export function streamObject(state: RepositoryState, name: string): ObjectId | undefined {
  checkRefName(name);
  if (!name.startsWith("refs/")) {
    if (name.includes("/")) return undefined;
    return entryObject(state, "streams", name);
  }
  const entry = refEntry(state, name);
  return entry === undefined ? undefined : entryObject(state, "streams", entry);
}

function refEntry(state: RepositoryState, name: string): string | undefined {
  const text = readLinkText(state.root, `streams/${name}`);
  return text?.slice(text.lastIndexOf("/") + 1);
}

/** A stream that was opened by name. */
export interface OpenStream extends Splitstream {
  /** Object id of the splitstream file. */
  readonly id: ObjectId;
}

/**
 * Opens a stream; its file is verified.
 *
 * @param options.contentType when given, the stream must have it
 * @throws {NotFoundError} when there is no such stream
 */
export function openStream(
  state: RepositoryState,
  name: string,
  options: { contentType?: bigint } = {},
): OpenStream {
  const id = streamObject(state, name);
  if (id === undefined) throw new NotFoundError("stream", name);
  try {
    return openStreamObject(state, id, options);
  } catch (cause) {
    throw withContext(`Opening stream '${name}'`, cause);
  }
}

/** Opens the splitstream that is object `id`. */
export function openStreamObject(
  state: RepositoryState,
  id: ObjectId,
  options: { contentType?: bigint } = {},
): OpenStream {
  const stream = openSplitstream(state.objects.read(id), {
    algorithm: state.algorithm,
    codec: nodeZstd,
    ...options,
  });
  return Object.assign(stream, { id });
}

/**
 * Stores a finished splitstream and gives it its name: object, sync, links, sync.
 *
 * @param options.ref reference to make, below `streams/refs`
 * @returns object id of the splitstream file
 */
export function writeStream(
  state: RepositoryState,
  name: string,
  options: { bytes: Uint8Array; ref?: string },
): ObjectId {
  checkEntryName(name);
  if (options.ref !== undefined) checkRefName(options.ref);
  assertWritable(state);
  const { id, outcome } = state.objects.write(options.bytes);
  if (outcome === "repaired") state.notice(`repaired damaged object ${id}`);
  syncRepository(state);
  linkStream(state, name, { id, ...(options.ref === undefined ? {} : { ref: options.ref }) });
  syncRepository(state);
  return id;
}

/** Names a splitstream object that is stored and durable already. */
export function linkStream(
  state: RepositoryState,
  name: string,
  options: { id: ObjectId; ref?: string },
): void {
  checkEntryName(name);
  if (options.ref !== undefined) checkRefName(options.ref);
  placeLink(state.root, `streams/${name}`, `objects/${objectPath(options.id)}`);
  if (options.ref !== undefined) {
    placeLink(state.root, `streams/refs/${options.ref}`, `streams/${name}`);
  }
}

/** A writer for a new splitstream of this repository. */
export function newStream(state: RepositoryState, contentType: bigint): SplitstreamWriter {
  return new SplitstreamWriter({ algorithm: state.algorithm, contentType, codec: nodeZstd });
}

/**
 * The reassembled content of a stream in pieces, each valid until the next one is asked for.
 *
 * @param state where the objects are
 * @throws {FormatError} when there is more than the announced size, and at the end when there is less
 */
export function* streamContent(
  state: { readonly objects: ObjectReader },
  stream: Splitstream,
  options: StreamContentOptions = {},
): Generator<Uint8Array, void, undefined> {
  const { streamSize } = stream;
  const most = options.anySize ? Infinity : Number(streamSize);
  let total = 0;
  const take = (bytes: Uint8Array) => {
    total += bytes.length;
    if (total > most) throw wrongSize(total, streamSize);
    return bytes;
  };
  for (const chunk of stream.chunks()) {
    if (chunk.type === "inline") yield take(chunk.bytes);
    else {
      const pieces = state.objects.pieces(stream.objectRefs.id(chunk.index), options);
      for (const piece of pieces) yield take(piece);
    }
  }
  if (!options.anySize && BigInt(total) !== streamSize) throw wrongSize(total, streamSize);
}

/** How the content of a stream is read. */
export interface StreamContentOptions {
  /** Hash external objects where the kernel does not verify them. @default false */
  readonly verify?: boolean;
  /** Deliver everything, whatever size is announced. @default false */
  readonly anySize?: boolean;
}

function wrongSize(total: number, streamSize: bigint): FormatError {
  const message = `Stream has ${total} bytes where its header says ${streamSize}`;
  return new FormatError("splitstream", message);
}

/** The content of a stream that holds exactly one object and nothing else (JSON documents). */
export function singleObject(stream: Splitstream): ObjectId {
  if (stream.objectRefs.length !== 1) {
    throw new FormatError(
      "splitstream",
      `Expected exactly 1 external object in splitstream, got ${stream.objectRefs.length}`,
    );
  }
  return stream.objectRefs.id(0);
}
