/** Unpacking layers: gzip with all its members, zstd with all its frames (spec: oci 2.4). */
import { Readable, type Transform } from "node:stream";
import { constants, createGunzip, createZstdDecompress } from "node:zlib";
import {
  FormatError,
  SyncZlib,
  withContext,
  ZSTD_BLOCK_HEADER,
  ZSTD_MAX_HEADER,
  zstdBlock,
  zstdFrameHeader,
} from "../base/mod.ts";
import type { Compression } from "./media_types.ts";

/** Size of the unpacked pieces; the fastest for the inflater. */
const PIECE = 256 * 1024;
const MAX_WINDOW_LOG = 27;

/** How a blob is packed, by its first bytes. */
export function sniffCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  const magic = head.length < 4 ? 0 : new DataView(head.buffer, head.byteOffset).getUint32(0, true);
  if (magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50) return "zstd";
  return "none";
}

/**
 * Unpacks a blob that comes in pieces.
 *
 * @param pieces each piece is done with when the next one is asked for
 * @returns pieces that are valid until the next one is asked for
 * @throws {FormatError} for damaged or truncated input
 */
export function unpack(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncIterable<Uint8Array> {
  if (compression === "gzip") return unpackGzip(pieces);
  if (compression === "zstd") return unpackZstd(pieces);
  return plain(pieces);
}

async function* plain(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* pieces;
}

async function* unpackGzip(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const stream = createGunzip({ chunkSize: PIECE });
  using steps = SyncZlib.open(stream, "gzip");
  if (steps === undefined) return yield* piped(stream, pieces, "gzip");
  const output = new Uint8Array(PIECE);
  try {
    yield* stepped(steps, pieces, { format: "gzip", output });
    // Tells a truncated stream.
    steps.step(constants.Z_FINISH, new Uint8Array(0), 0, output);
  } catch (error) {
    if (!(error instanceof FormatError) || error.format !== "gzip") throw error;
    if (error.message.includes("gzip")) throw error;
    // The library's words alone, like "incorrect data check", say nothing of what they are about.
    throw new FormatError("gzip", `Invalid gzip data: ${error.message}`, { cause: error });
  }
}

/** One output buffer for everything: fresh ones cost page faults and collections. */
async function* stepped(
  steps: SyncZlib,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: { format: string; output: Uint8Array },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { format, output } = options;
  for await (const piece of pieces) {
    for (let at = 0;;) {
      const made = steps.step(constants.Z_NO_FLUSH, piece, at, output);
      at = piece.length - steps.inputLeft;
      if (made > 0) yield output.subarray(0, made);
      if (made < output.length && at === piece.length) break;
      if (made === 0 && at < piece.length) {
        // Zeros behind the last gzip member are padding; the inflater stops at them.
        if (piece.subarray(at).every((byte) => byte === 0)) break;
        throw new FormatError(format, `Invalid ${format} data: bytes after the end`);
      }
    }
  }
}

/** The way of runtimes whose streams cannot be stepped. */
async function* piped(
  stream: Transform,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  format: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const source = Readable.from(copies(pieces), { objectMode: true, highWaterMark: 1 });
  let sourceError: unknown;
  source.once("error", (error) => {
    sourceError = error;
    stream.destroy(error);
  });
  source.pipe(stream);
  try {
    for await (const piece of stream) yield piece;
  } catch (cause) {
    // An error of the reader goes on as it is, one of the unpacker is about the format.
    if (sourceError !== undefined) throw sourceError;
    if (!(cause instanceof Error) || !("code" in cause || "errno" in cause || isZlib(cause))) {
      throw cause;
    }
    throw new FormatError(format, `Invalid ${format} data: ${cause.message}`, { cause });
  } finally {
    source.destroy();
    stream.destroy();
  }
}

/** Copies, for a consumer that reads ahead. */
async function* copies(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of pieces) yield piece.slice();
}

function isZlib(error: Error): boolean {
  return /zstd|zlib|header|inflate/i.test(error.message);
}

/** A stretch of input with a look ahead. */
class Cursor {
  readonly #pieces: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    this.#pieces = Symbol.asyncIterator in pieces
      ? pieces[Symbol.asyncIterator]()
      : pieces[Symbol.iterator]();
  }

  /** Up to `length` (small) bytes that come next, without moving past them; fewer at the end. */
  async peek(length: number): Promise<Uint8Array> {
    while (this.#rest.length < length) {
      const kept = this.#rest.slice(); // the next piece may come in the same buffer
      const { done, value } = await this.#pieces.next();
      if (done) {
        this.#rest = kept;
        break;
      }
      if (kept.length === 0) this.#rest = value;
      else {
        this.#rest = new Uint8Array(kept.length + value.length);
        this.#rest.set(kept);
        this.#rest.set(value, kept.length);
      }
    }
    return this.#rest.subarray(0, length);
  }

  /** The next bytes, at most `length` of them and at least one. */
  async take(length: number): Promise<Uint8Array> {
    if (this.#rest.length === 0) await this.peek(1);
    if (this.#rest.length === 0) throw new FormatError("zstd", "incomplete frame");
    const bytes = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(bytes.length);
    return bytes;
  }

  /** Ends the input early. */
  async close(): Promise<void> {
    await this.#pieces.return?.();
  }
}

/** Unpacks all frames, which may be tiny and many, with one decompressor. */
async function* unpackZstd(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const cursor = new Cursor(pieces);
  const params = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };
  const newStream = () => createZstdDecompress({ chunkSize: PIECE, params });
  using steps = SyncZlib.open(newStream(), "zstd");
  const output = new Uint8Array(PIECE);
  try {
    for (;;) {
      const head = await cursor.peek(ZSTD_MAX_HEADER);
      if (head.length === 0) return;
      const { skip, length } = zstdFrameHeader(head);
      if (skip !== undefined) {
        for (let left = length + skip; left > 0;) left -= (await cursor.take(left)).length;
      } else if (steps === undefined) yield* piped(newStream(), frame(cursor), "zstd");
      else yield* stepped(steps, frame(cursor), { format: "zstd", output });
    }
  } catch (error) {
    throw error instanceof FormatError ? error : withContext("Cannot unpack zstd data", error);
  } finally {
    await cursor.close();
  }
}

/** The bytes of exactly one frame: the decompressor ignores what follows, so nothing may. */
async function* frame(cursor: Cursor): AsyncGenerator<Uint8Array, void, undefined> {
  const header = zstdFrameHeader(await cursor.peek(ZSTD_MAX_HEADER));
  yield* exactly(cursor, header.length);
  for (let last = false; !last;) {
    const head = await cursor.peek(ZSTD_BLOCK_HEADER);
    if (head.length < ZSTD_BLOCK_HEADER) throw new FormatError("zstd", "incomplete frame");
    const block = zstdBlock(head);
    yield* exactly(cursor, ZSTD_BLOCK_HEADER + block.length);
    last = block.last;
  }
  yield* exactly(cursor, header.trailer);
}

async function* exactly(
  cursor: Cursor,
  length: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let left = length; left > 0;) {
    const bytes = await cursor.take(left);
    left -= bytes.length;
    yield bytes;
  }
}
