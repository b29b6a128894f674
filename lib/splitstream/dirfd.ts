/**
 * The splitdirfdstream format: a layer on a pipe, whose file bodies are named instead of sent
 * (spec: repository 13).
 *
 * @module
 */
import type { ByteString } from "../base/mod.ts";
import { FormatError, fromByteString, toByteString } from "../base/mod.ts";

/** A chunk of the stream as it is written. */
export type DirfdChunk =
  /** Bytes that belong to no file: headers, padding; copied as they are. */
  | { readonly type: "metadata"; readonly bytes: Uint8Array }
  /** The content of a file. */
  | { readonly type: "inline"; readonly bytes: Uint8Array }
  /** The content of a file of `size` bytes that lies in directory number `directory`. */
  | {
    readonly type: "file";
    readonly size: number;
    readonly directory: number;
    readonly name: ByteString;
  };

/** What a reader tells. Bytes come in pieces after their `start`, each valid until the next one. */
export type DirfdEvent =
  | { readonly type: "start"; readonly kind: "metadata" | "inline"; readonly size: number }
  | { readonly type: "data"; readonly bytes: Uint8Array }
  | Extract<DirfdChunk, { type: "file" }>;

const TYPE = { metadata: 0, inline: 1, file: 2 } as const;
/** Fields after the type byte; all little-endian. */
const LENGTH = { length: [0, "u32"] } as const;
const LENGTH_SIZE = 4;
const FILE = { size: [0, "u64"], directory: [8, "u32"], nameLength: [12, "u32"] } as const;
const FILE_SIZE = 16;

/** Most bytes of an inline chunk. */
const MAX_INLINE = 256 * 1024 * 1024;
/** Longest name of a file in bytes. */
const MAX_NAME = 4096;

function fail(message: string, offset?: number): FormatError {
  return new FormatError(
    "splitdirfdstream",
    message,
    offset === undefined ? undefined : { offset },
  );
}

/**
 * Checks the name of a file, which must stay below its directory.
 *
 * @throws {FormatError} `invalid filename: …`
 */
export function checkDirfdName(name: ByteString): void {
  const fault = name === ""
    ? "empty filename"
    : name.includes("\0")
    ? "embedded NUL"
    : name.startsWith("/")
    ? "absolute path"
    : name.split("/").includes("..")
    ? "`..` component"
    : undefined;
  if (fault !== undefined) throw fail(`invalid filename: ${fault}`);
}

/**
 * Writes a chunk; metadata without bytes gives nothing.
 *
 * @throws {FormatError} for a chunk beyond the limits, or a bad name
 */
export function encodeDirfdChunk(chunk: DirfdChunk): Uint8Array<ArrayBuffer> {
  if (chunk.type === "file") return encodeFile(chunk);
  const { bytes, type } = chunk;
  if (bytes.length > MAX_INLINE) throw tooLarge(bytes.length);
  if (type === "metadata" && bytes.length === 0) return new Uint8Array(0);
  const out = new Uint8Array(1 + LENGTH_SIZE + bytes.length);
  out[0] = TYPE[type];
  new DataView(out.buffer, 1).setUint32(LENGTH.length[0], bytes.length, true);
  out.set(bytes, 1 + LENGTH_SIZE);
  return out;
}

function encodeFile(chunk: Extract<DirfdChunk, { type: "file" }>): Uint8Array<ArrayBuffer> {
  const { size, directory, name } = chunk;
  checkDirfdName(name);
  if (name.length > MAX_NAME) throw nameTooLong(name.length);
  const out = new Uint8Array(1 + FILE_SIZE + name.length);
  out[0] = TYPE.file;
  const view = new DataView(out.buffer, 1);
  view.setBigUint64(FILE.size[0], BigInt(size), true);
  view.setUint32(FILE.directory[0], directory, true);
  view.setUint32(FILE.nameLength[0], name.length, true);
  out.set(fromByteString(name), 1 + FILE_SIZE);
  return out;
}

function tooLarge(size: number): FormatError {
  return fail(`inline chunk size ${size} exceeds maximum ${MAX_INLINE}`);
}

function nameTooLong(length: number): FormatError {
  return fail(`filename length ${length} exceeds maximum ${MAX_NAME}`);
}

type Step = "type" | "length" | "data" | "file" | "name";

/**
 * Reads a stream that comes in pieces of any size; holds no more than one name. Names are not
 * checked here: {@linkcode checkDirfdName} is for who opens them.
 */
export class DirfdStreamReader {
  readonly #held = new Uint8Array(MAX_NAME);
  readonly #view: DataView = new DataView(this.#held.buffer);
  #step: Step = "type";
  #kind: "metadata" | "inline" = "metadata";
  /** Bytes that the current part needs, and those of it that are there. */
  #need = 1;
  #have = 0;
  #size = 0;
  #directory = 0;
  #offset = 0;

  /**
   * Takes the next bytes.
   *
   * @throws {FormatError} while iterating, with the offset in the stream
   */
  *push(bytes: Uint8Array): Generator<DirfdEvent, void, undefined> {
    for (let at = 0; at < bytes.length;) {
      const count = Math.min(this.#need - this.#have, bytes.length - at);
      const piece = bytes.subarray(at, at + count);
      at += count;
      this.#offset += count;
      if (this.#step === "data") yield { type: "data", bytes: piece };
      else this.#held.set(piece, this.#have);
      this.#have += count;
      if (this.#have < this.#need) return;
      const event = this.#part();
      if (event !== undefined) yield event;
    }
  }

  /**
   * Ends the stream, which it may do between chunks only.
   *
   * @throws {FormatError} `truncated stream: expected N more bytes in chunk`
   */
  finish(): void {
    if (this.#step === "type") return;
    throw fail(`truncated stream: expected ${this.#need} more bytes in chunk`, this.#offset);
  }

  /** Takes a part that is complete, and says what it completes. */
  #part(): DirfdEvent | undefined {
    switch (this.#step) {
      case "type":
        return this.#chunkType(this.#held[0]!);
      case "length":
        return this.#start(this.#view.getUint32(LENGTH.length[0], true));
      case "data":
        return this.#next("type", 1);
      case "file":
        return this.#fileHead();
      case "name":
        return this.#named(toByteString(this.#held.subarray(0, this.#need)));
    }
  }

  #next(step: Step, need: number): undefined {
    this.#step = step;
    this.#need = need;
    this.#have = 0;
  }

  #chunkType(type: number): undefined {
    if (type === TYPE.file) return this.#next("file", FILE_SIZE);
    if (type !== TYPE.metadata && type !== TYPE.inline) {
      const hex = type.toString(16).padStart(2, "0");
      throw fail(`unknown chunk type byte 0x${hex}`, this.#offset - 1);
    }
    this.#kind = type === TYPE.metadata ? "metadata" : "inline";
    return this.#next("length", LENGTH_SIZE);
  }

  #start(size: number): DirfdEvent {
    if (size > MAX_INLINE) throw tooLarge(size);
    if (size === 0) this.#next("type", 1);
    else this.#next("data", size);
    return { type: "start", kind: this.#kind, size };
  }

  #fileHead(): DirfdEvent | undefined {
    const size = this.#view.getBigUint64(FILE.size[0], true);
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw fail(`file of ${size} bytes`, this.#offset);
    this.#size = Number(size);
    this.#directory = this.#view.getUint32(FILE.directory[0], true);
    const length = this.#view.getUint32(FILE.nameLength[0], true);
    if (length > MAX_NAME) throw nameTooLong(length);
    if (length === 0) return this.#named("");
    return this.#next("name", length);
  }

  #named(name: ByteString): DirfdEvent {
    this.#next("type", 1);
    return { type: "file", size: this.#size, directory: this.#directory, name };
  }
}
