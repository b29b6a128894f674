/** File objects that come in pieces: checked while they are stored (spec: ostree 2.4, 6). */
import { createHash, type Hash } from "node:crypto";
import { FormatError } from "../base/mod.ts";
import type { ObjectSink, SpaceWatch } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import {
  encodeStreamHeader,
  type FileHeader,
  FRAME_SIZE,
  isSymlink,
  parseArchiveHeader,
  parseFrame,
} from "./file_header.ts";
import { corruptedObject } from "./object_kind.ts";
import { RawInflater } from "./raw_inflate.ts";
import type { ImportedFile } from "./source.ts";

const INFLATED = 256 * 1024;

/** The content of one file object in pieces; `using` drops it unless it was finished. */
export class ContentSink implements Disposable {
  readonly #checksum: Checksum;
  readonly #header: FileHeader;
  readonly #framed: Uint8Array;
  readonly #object: ObjectSink | undefined;
  readonly #cloned: boolean;
  readonly #space: SpaceWatch | undefined;
  readonly #inline: Uint8Array;
  readonly #hash: Hash = createHash("sha256");
  #size = 0;

  /**
   * Starts with a header.
   *
   * @param options.object where content goes that is not inline
   * @param options.space where that takes space
   */
  constructor(
    checksum: Checksum,
    options: {
      header: FileHeader;
      framed: Uint8Array;
      object: ObjectSink | undefined;
      cloned: boolean;
      space?: SpaceWatch | undefined;
    },
  ) {
    this.#checksum = checksum;
    this.#header = options.header;
    this.#framed = options.framed.slice();
    this.#object = options.object;
    this.#cloned = options.cloned;
    this.#space = options.space;
    this.#inline = new Uint8Array(options.object === undefined ? options.header.size : 0);
    this.#hash.update(encodeStreamHeader(options.header));
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * Adds content, from a buffer of more than 64 bytes.
   *
   * @throws {FormatError} when it is more than the header says
   * @throws {UnsupportedError} when hardly any space is left
   */
  write(bytes: Uint8Array): void {
    const before = this.#size;
    this.#size += bytes.length;
    if (this.#size > this.#header.size) {
      checkContentSize(this.#checksum, this.#header, this.#size);
    }
    this.#hash.update(bytes);
    // Whether it is what it should be shows only at its end.
    this.#space?.check(this.#size);
    if (this.#object !== undefined) this.#object.write(bytes);
    else this.#inline.set(bytes, before);
  }

  /**
   * Checks size and checksum, and gives the object its name.
   *
   * @throws {DigestMismatchError} when it is not the object with this checksum
   */
  finish(): ImportedFile {
    checkContentSize(this.#checksum, this.#header, this.#size);
    const actual = this.#hash.digest("hex") as Checksum;
    if (actual !== this.#checksum) throw corruptedObject("file", this.#checksum, actual);
    const checksum = this.#checksum;
    if (this.#object === undefined) {
      return { checksum, data: join(this.#framed, this.#inline), object: undefined };
    }
    const object = { ...this.#object.finish(), cloned: this.#cloned };
    return { checksum, data: this.#framed, object };
  }

  /** Drops what was written unless it was finished. */
  [Symbol.dispose](): void {
    this.#object?.[Symbol.dispose]();
  }
}

/** The archive form of one file object in pieces, of any size. */
export class ArchiveSink implements Disposable {
  readonly #checksum: Checksum;
  readonly #begin: (header: FileHeader, framed: Uint8Array) => ContentSink;
  #head: Uint8Array = new Uint8Array(0);
  #headSize = FRAME_SIZE;
  #sink: ContentSink | undefined;
  #link = false;
  readonly #inflater = new RawInflater();
  readonly #plain = new Uint8Array(INFLATED);

  /**
   * Starts an object.
   *
   * @param begin called with the header as soon as that is known
   */
  constructor(
    checksum: Checksum,
    begin: (header: FileHeader, framed: Uint8Array) => ContentSink,
  ) {
    this.#checksum = checksum;
    this.#begin = begin;
  }

  /** Adds bytes of the archive form. */
  write(bytes: Uint8Array): void {
    let rest = bytes;
    while (this.#sink === undefined) {
      const want = this.#headSize - this.#head.length;
      if (rest.length < want) {
        this.#head = join(this.#head, rest);
        return;
      }
      this.#head = join(this.#head, rest.subarray(0, want));
      rest = rest.subarray(want);
      if (this.#headSize === FRAME_SIZE) {
        this.#headSize += parseFrame(this.#head);
        if (this.#headSize > FRAME_SIZE) continue;
      }
      const { header, framed } = splitArchive(this.#checksum, this.#head);
      this.#link = isSymlink(header);
      this.#sink = this.#begin(header, framed);
    }
    if (this.#link) return checkNothing(this.#checksum, rest);
    for (const plain of this.#inflater.step(rest, this.#plain)) this.#sink.write(plain);
  }

  /**
   * Ends the object.
   *
   * @throws {FormatError} when it is cut off or its size is not what its header says
   * @throws {DigestMismatchError} when it is not the object with this checksum
   */
  finish(): ImportedFile {
    if (this.#sink === undefined) throw truncated(this.#checksum);
    return this.#sink.finish();
  }

  /** Drops what was written unless it was finished. */
  [Symbol.dispose](): void {
    this.#sink?.[Symbol.dispose]();
    this.#inflater[Symbol.dispose]();
  }
}

/** Header, framed header and what follows of an archive form whose header is there as a whole. */
export function splitArchive(
  checksum: Checksum,
  bytes: Uint8Array,
): { header: FileHeader; framed: Uint8Array; rest: Uint8Array } {
  const end = FRAME_SIZE + parseFrame(bytes);
  if (end > bytes.length) throw truncated(checksum);
  const framed = bytes.subarray(0, end);
  const header = parseArchiveHeader(framed.subarray(FRAME_SIZE));
  return { header, framed, rest: bytes.subarray(end) };
}

function truncated(checksum: Checksum): FormatError {
  return new FormatError("ostree file", `file object ${checksum}: header is cut off`);
}

/** Checks that nothing follows the header of a symbolic link. */
export function checkNothing(checksum: Checksum, rest: Uint8Array): void {
  if (rest.length === 0) return;
  const message = `file object ${checksum}: symbolic link with content`;
  throw new FormatError("ostree file", message);
}

/**
 * Checks the size of content against the header's.
 *
 * @param size bytes seen; more than the header says means that reading stopped there
 */
export function checkContentSize(checksum: Checksum, header: FileHeader, size: number): void {
  if (size === header.size) return;
  const found = size > header.size ? "more" : String(size);
  const message = `file object ${checksum}: header says ${header.size} bytes, content has ${found}`;
  throw new FormatError("ostree file", message);
}

/** Two byte arrays one after the other. */
export function join(first: Uint8Array, second: Uint8Array): Uint8Array {
  const out = new Uint8Array(first.length + second.length);
  out.set(first);
  out.set(second, first.length);
  return out;
}
