import { type ByteString, ComposefsError, displayByteString, type ObjectId } from "../base/mod.ts";
import {
  addressable,
  addressOf,
  closeNumber,
  ErrnoError,
  fdXattrs,
  isErrno,
  O,
  openBytes,
  preadAddress,
} from "../../ffi/mod.ts";
import type { ContentSink } from "./sink.ts";

/** Files of up to this many bytes stand in the image itself (spec: erofs 1.3). */
export const MAX_INLINE = 64;

/** Regular files of one directory. */
export interface FileGroup {
  /** Descriptor number of the directory; open until the batch is answered. */
  readonly dir: number;
  /** Path of the directory, for messages. */
  readonly path: ByteString;
  /** Names of the files. */
  readonly names: ByteString[];
  /** Their sizes in bytes. */
  readonly sizes: number[];
}

/** Some files to read: plain data, so that a worker can do it. */
export interface FileBatch {
  /** What the worker's sink is made from. */
  readonly argument: unknown;
  /** The files. */
  readonly groups: FileGroup[];
}

/** What was read, in the order of the files in all groups. */
export interface BatchResult {
  /** Ids of the files that are too big to stand in the image, `""` for the others. */
  readonly ids: (ObjectId | "")[];
  /** Content of the small files that are not empty, by number of the file. */
  readonly inline: Map<number, Uint8Array>;
  /** The different sets of extended attributes, each `[name, value, …]`; the first is empty. */
  readonly sets: ByteString[][];
  /** Which set each file has; absent when none has any. */
  readonly setOf: Uint32Array | undefined;
  /** Bytes read. */
  readonly bytes: number;
}

/** Identifies a set of extended attributes: values may contain any byte, so lengths come first. */
export function xattrKey(flat: readonly ByteString[]): string {
  let lengths = "";
  for (const text of flat) lengths += text.length + ",";
  return lengths + flat.join("");
}

const PIECE = 1 << 20;

/** Reads batches of files in one reused buffer. */
export class BatchReader {
  readonly #sink: ContentSink;
  /** One byte more than a piece: a file of exactly one piece is seen to end within one read. */
  readonly #buffer = addressable(PIECE + 1);
  readonly #address = addressOf(this.#buffer);

  /** Creates a reader that hands content to a sink. */
  constructor(sink: ContentSink) {
    this.#sink = sink;
  }

  /**
   * Reads all files of a batch.
   *
   * @throws {ErrnoError} when a file cannot be read
   * @throws {ComposefsError} when a file changes while it is read
   */
  read(batch: FileBatch): BatchResult {
    const ids: (ObjectId | "")[] = [];
    const inline = new Map<number, Uint8Array>();
    const sets: ByteString[][] = [[]];
    const numbers = new Map<string, number>();
    let total = 0;
    for (const { names } of batch.groups) total += names.length;
    let setOf: Uint32Array | undefined;
    let bytes = 0;
    for (const { dir, path, names, sizes } of batch.groups) {
      for (let i = 0; i < names.length; i++) {
        const index = ids.length;
        const size = sizes[i]!;
        const file = { name: names[i]!, size, path };
        const number = openBytes(dir, file.name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
        if (number < 0) throw openError(-number, file);
        try {
          const xattrs = fdXattrs(number);
          if (xattrs !== undefined) {
            const key = xattrKey(xattrs);
            let set = numbers.get(key);
            if (set === undefined) {
              set = sets.push(xattrs) - 1;
              numbers.set(key, set);
            }
            setOf ??= new Uint32Array(total);
            setOf[index] = set;
          }
          ids.push(this.#content(number, file, (data) => inline.set(index, data)));
          bytes += size;
        } catch (error) {
          // Directories and fifos cannot be read at an offset.
          throw isErrno(error, "EISDIR", "ESPIPE") ? typeChanged(file) : error;
        } finally {
          closeNumber(number);
        }
      }
    }
    return { ids, inline, sets, setOf, bytes };
  }

  #content(number: number, file: OpenFile, inline: (data: Uint8Array) => void): ObjectId | "" {
    const { size } = file;
    if (size === 0) return "";
    if (size > PIECE) return this.#pieces(number, file);
    // One byte more is asked for: a read that comes back without it has seen the end of the file.
    for (let done = 0; done !== size;) {
      const target = { address: this.#address + done, length: size + 1 - done, offset: done };
      const got = preadAddress(number, target);
      done += got;
      if (got === 0 || done > size) throw changed(file);
    }
    if (size <= MAX_INLINE) {
      inline(this.#buffer.slice(0, size));
      return "";
    }
    return this.#sink.whole(this.#buffer, size);
  }

  #pieces(number: number, file: OpenFile): ObjectId {
    const buffer = this.#buffer;
    using pieces = this.#sink.begin();
    for (let offset = 0;;) {
      let filled = 0;
      while (filled < PIECE) {
        const target = {
          address: this.#address + filled,
          length: PIECE - filled,
          offset: offset + filled,
        };
        const got = preadAddress(number, target);
        if (got === 0) break;
        filled += got;
      }
      offset += filled;
      if (offset > file.size || (filled < PIECE && offset !== file.size)) throw changed(file);
      if (filled > 0) pieces.write(buffer.subarray(0, filled));
      if (filled < PIECE) return pieces.finish();
    }
  }
}

/** A file that is being read. */
interface OpenFile {
  readonly name: ByteString;
  readonly path: ByteString;
  readonly size: number;
}

function showFile(file: OpenFile): string {
  return displayByteString(`${file.path}/${file.name}`);
}

function changed(file: OpenFile): ComposefsError {
  return new ComposefsError("CFS_FAILED", `File size changed while reading "${showFile(file)}"`);
}

/** A symbolic link or a fifo cannot be opened the way regular files are. */
function openError(code: number, file: OpenFile): ComposefsError {
  const error = new ErrnoError("open", code, showFile(file));
  return error.is("ELOOP", "ENXIO") ? typeChanged(file) : error;
}

function typeChanged(file: OpenFile): ComposefsError {
  return new ComposefsError(
    "CFS_FAILED",
    `File type changed between readdir() and open(): "${showFile(file)}"`,
  );
}
