/** Checks file objects against their checksums and stores their content (spec: ostree 2.4, 4.1, 6). */
import { type BlockHash, toHex } from "../base/mod.ts";
import { type Fd, preadFull, systemHash } from "../../ffi/mod.ts";
import { ObjectDirectory, type ObjectSink, SpaceWatch } from "../repository/mod.ts";
import { type Checksum, CHECKSUM_SIZE } from "./checksum.ts";
import {
  ArchiveSink,
  checkContentSize,
  checkNothing,
  ContentSink,
  join,
  splitArchive,
} from "./content_sink.ts";
import {
  encodeArchiveHeader,
  encodeStreamHeader,
  type FileHeader,
  isSymlink,
} from "./file_header.ts";
import { corruptedObject } from "./object_kind.ts";
import { RawInflater } from "./raw_inflate.ts";
import { type ImportedFile, type ImportTarget, inlineLimit } from "./source.ts";

/** Files of at most this many bytes are handled in one piece. */
const WHOLE = 8 * 1024 * 1024;
/** Room for the stream header in front of a whole file. */
const HEADROOM = 64 * 1024;
/** Pieces of larger files. */
const PIECE = 1024 * 1024;

/** Imports file objects on one thread; buffers are reused, so one file after the other. */
export class ContentImporter implements Disposable {
  readonly #target: ImportTarget;
  readonly #directory: ObjectDirectory;
  readonly #inline: number;
  readonly #hash: BlockHash = systemHash().block("sha256");
  readonly #digest = new Uint8Array(128);
  readonly #buffer = new Uint8Array(HEADROOM + WHOLE + 1);
  #packed: Uint8Array | undefined;
  #piece: Uint8Array | undefined;
  readonly #inflater = new RawInflater();

  /** Stores to `target`. */
  constructor(target: ImportTarget) {
    this.#target = target;
    this.#directory = new ObjectDirectory(target.objects);
    this.#inline = inlineLimit(target.objects.algorithm);
  }

  /**
   * Imports the archive form of a file object that is in memory.
   *
   * @throws {FormatError} when it is malformed or its size is not what its header says
   * @throws {DigestMismatchError} when it is not the object with this checksum
   */
  archive(checksum: Checksum, bytes: Uint8Array): ImportedFile {
    const { header, framed, rest } = splitArchive(checksum, bytes);
    const stream = encodeStreamHeader(header);
    if (header.size > WHOLE || stream.length > HEADROOM) {
      using sink = this.archiveSink(checksum);
      sink.write(bytes);
      return sink.finish();
    }
    let size = 0;
    if (isSymlink(header)) checkNothing(checksum, rest);
    else size = this.#inflater.all(rest, this.#room(header.size + 1));
    checkContentSize(checksum, header, size);
    return this.#whole(checksum, { stream, framed, size });
  }

  /** Imports the archive form of a file object from an open file of `size` bytes. */
  archiveFile(checksum: Checksum, file: Fd | number, size: number): ImportedFile {
    if (size <= WHOLE) {
      const bytes = (this.#packed ??= new Uint8Array(WHOLE)).subarray(0, size);
      return this.archive(checksum, bytes.subarray(0, preadFull(file, bytes, 0)));
    }
    using sink = this.archiveSink(checksum);
    this.#copy(file, sink);
    return sink.finish();
  }

  /** Imports the archive form of a file object that comes in pieces; memory stays bounded. */
  archiveSink(checksum: Checksum): ArchiveSink {
    return new ArchiveSink(checksum, (header, framed) => this.#sink(checksum, header, framed));
  }

  /**
   * Imports a regular file whose content is stored as it is, sharing its blocks where the file
   * systems can.
   *
   * @param header what the repository says about it; its size is the file's
   */
  plainFile(checksum: Checksum, header: FileHeader, file: Fd | number): ImportedFile {
    const framed = encodeArchiveHeader(header);
    const stream = encodeStreamHeader(header);
    const { size } = header;
    const clone = size > this.#inline ? this.#directory.clone(file) : undefined;
    using _clone = clone;
    const from = clone?.fd ?? file;
    if (size > WHOLE || stream.length > HEADROOM) {
      using sink = this.#sink(checksum, header, framed, clone);
      this.#copy(from, sink);
      return sink.finish();
    }
    checkContentSize(checksum, header, preadFull(from, this.#room(size + 1), 0));
    if (clone === undefined) return this.#whole(checksum, { stream, framed, size });
    this.#verify(checksum, stream, size);
    clone.write(this.#room(size));
    return { checksum, data: framed, object: { ...clone.finish(), cloned: true } };
  }

  /** Imports a file whose content is in memory; symbolic links have none. */
  bytes(checksum: Checksum, header: FileHeader, content: Uint8Array): ImportedFile {
    const stream = encodeStreamHeader(header);
    if (content.length > WHOLE || stream.length > HEADROOM) {
      using sink = this.sink(checksum, header);
      sink.write(content);
      return sink.finish();
    }
    checkContentSize(checksum, header, content.length);
    this.#room(content.length).set(content);
    const framed = encodeArchiveHeader(header);
    return this.#whole(checksum, { stream, framed, size: content.length });
  }

  /** Imports a file whose content comes in pieces. */
  sink(checksum: Checksum, header: FileHeader): ContentSink {
    return this.#sink(checksum, header, encodeArchiveHeader(header));
  }

  #sink(
    checksum: Checksum,
    header: FileHeader,
    framed: Uint8Array,
    object?: ObjectSink,
  ): ContentSink {
    const inline = header.size <= this.#inline;
    const taken = object === undefined && !inline && header.size > SpaceWatch.STEP;
    return new ContentSink(checksum, {
      header,
      framed,
      cloned: object !== undefined,
      object: inline ? undefined : object ?? this.#directory.begin(),
      space: taken ? new SpaceWatch(this.#target.objects.dir) : undefined,
    });
  }

  #copy(file: Fd | number, sink: { write(bytes: Uint8Array): void }): void {
    const piece = this.#piece ??= new Uint8Array(PIECE);
    for (let offset = 0, got = piece.length; got === piece.length; offset += got) {
      got = preadFull(file, piece, offset);
      sink.write(piece.subarray(0, got));
    }
  }

  /** Where content goes, so that its stream header fits right in front of it. */
  #room(size: number): Uint8Array {
    return this.#buffer.subarray(HEADROOM, HEADROOM + size);
  }

  /** Checks a header and the content in the buffer. */
  #verify(checksum: Checksum, stream: Uint8Array, size: number): void {
    const start = HEADROOM - stream.length;
    this.#buffer.set(stream, start);
    this.#hash.hash(this.#buffer, start, stream.length + size, this.#digest, 0);
    const actual = toHex(this.#digest, 0, CHECKSUM_SIZE);
    if (actual !== checksum) throw corruptedObject("file", checksum, actual as Checksum);
  }

  #whole(
    checksum: Checksum,
    file: { stream: Uint8Array; framed: Uint8Array; size: number },
  ): ImportedFile {
    const { stream, framed, size } = file;
    this.#verify(checksum, stream, size);
    if (size <= this.#inline) {
      return { checksum, data: join(framed, this.#room(size)), object: undefined };
    }
    const stored = this.#directory.store(this.#buffer, { start: HEADROOM, end: HEADROOM + size });
    return { checksum, data: framed.slice(), object: { ...stored, cloned: false } };
  }

  /** Gives the inflater back. */
  [Symbol.dispose](): void {
    this.#inflater[Symbol.dispose]();
  }
}
