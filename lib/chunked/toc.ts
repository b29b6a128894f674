import { toByteString } from "../base/mod.ts";
import { DigestColumn, NumberColumn } from "./columns.ts";
import { BRACKET, JsonCursor, type JsonString, KeyTable, SeenKeys } from "./json.ts";
import { LIMITS, TOC_VERSION } from "./layout.ts";

const FORMAT = "zstd:chunked TOC";

/**
 * A table of contents in columns: plain data that workers can be sent. Of the entries only what
 * fetching needs is kept; owners, modes and the like come from the tar headers (spec: zstd-chunked
 * 5).
 */
export interface Toc {
  /** The text, which names are read from. */
  readonly text: Uint8Array;
  /** Digest of the compressed tar-split, `sha256:...`; undefined when none is given. */
  readonly tarSplitDigest: string | undefined;
  /** For each entry that is no chunk, where its name is in the text: start, end, 1 if escaped. */
  readonly names: Float64Array;
  /** For each entry that is no chunk, the number of its content; -1 for none. */
  readonly contentOf: Float64Array;
  /** Size in bytes of each content. */
  readonly sizes: Float64Array;
  /** sha256 of each content. */
  readonly digests: Uint8Array;
  /** Number of the first chunk of each content, and one more for the end. */
  readonly firstChunk: Float64Array;
  /** Where each chunk's frame starts in the blob. */
  readonly chunkStarts: Float64Array;
  /** Where it ends. */
  readonly chunkEnds: Float64Array;
  /** Bytes of each chunk when unpacked. */
  readonly chunkSizes: Float64Array;
  /** sha256 of each chunk. */
  readonly chunkDigests: Uint8Array;
  /** 1 for each chunk that is nothing but zeros. */
  readonly chunkZeros: Float64Array;
}

const TOP = ["version", "entries", "tarSplitDigest"] as const;
const TOP_KEYS = new KeyTable(TOP);

/** The keys that matter; all others are read over. */
const ENTRY = [
  "type",
  "name",
  "size",
  "digest",
  "offset",
  "endOffset",
  "chunkSize",
  "chunkOffset",
  "chunkDigest",
  "chunkType",
] as const;
const ENTRY_KEYS = new KeyTable(ENTRY);

const TYPES = new Set(
  ["reg", "hardlink", "char", "block", "dir", "fifo", "symlink", "chunk"],
);

const DIGEST_PREFIX = "sha256:";
const DIGEST_TEXT = DIGEST_PREFIX.length + 64;
const NONE = -1;

function nibble(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  if (byte >= 0x61 && byte <= 0x66) return byte - 0x61 + 10;
  return -1;
}

/** One entry while it is read; used again for each. */
interface Entry {
  type: string;
  name: JsonString;
  size: number;
  offset: number;
  endOffset: number;
  chunkSize: number;
  chunkOffset: number;
  digest: Uint8Array | undefined;
  chunkDigest: Uint8Array | undefined;
  zeros: boolean;
}

class TocParser {
  readonly #cursor: JsonCursor;
  readonly #dataEnd: number;
  readonly #seen = new SeenKeys();
  readonly #names = new NumberColumn();
  readonly #contentOf = new NumberColumn();
  readonly #sizes = new NumberColumn();
  readonly #digests = new DigestColumn();
  readonly #firstChunk = new NumberColumn();
  readonly #starts = new NumberColumn();
  readonly #ends = new NumberColumn();
  readonly #chunkSizes = new NumberColumn();
  readonly #chunkDigests = new DigestColumn();
  readonly #zeros = new NumberColumn();
  readonly #digestBuffer = new Uint8Array(32);
  readonly #chunkDigestBuffer = new Uint8Array(32);
  readonly #entry: Entry = {
    type: "",
    name: { start: 0, end: 0, escaped: false },
    size: 0,
    offset: 0,
    endOffset: 0,
    chunkSize: 0,
    chunkOffset: 0,
    digest: undefined,
    chunkDigest: undefined,
    zeros: false,
  };
  #entries = 0;
  #total = 0;
  /** Where the last content's frames end. */
  #position = 0;
  /** The file whose chunks are being read: its name, end in the blob, bytes not covered yet. */
  #fileName: JsonString = { start: 0, end: 0, escaped: false };
  #fileEnd = 0;
  #fileSize = 0;
  #uncovered = NONE;

  constructor(text: Uint8Array, dataEnd: number) {
    this.#cursor = new JsonCursor(text, FORMAT);
    this.#dataEnd = dataEnd;
  }

  parse(): Toc {
    const cursor = this.#cursor;
    const seen = new SeenKeys();
    let version: number | undefined;
    let entries = false;
    let tarSplitDigest: string | undefined;
    for (let more = cursor.enter(BRACKET.object); more; more = cursor.next(BRACKET.object)) {
      cursor.key();
      const key = TOP_KEYS.find(cursor);
      seen.add(cursor, key);
      switch (TOP[key]) {
        case "version":
          version = cursor.integer();
          break;
        case "entries":
          entries = true;
          if (!cursor.null()) this.#parseEntries();
          break;
        case "tarSplitDigest":
          if (cursor.null()) break;
          cursor.text();
          tarSplitDigest = cursor.decoded();
          if (!/^sha256:[0-9a-f]{64}$/.test(tarSplitDigest)) {
            throw cursor.fault("tarSplitDigest is no sha256 digest");
          }
          break;
        default:
          cursor.skip();
      }
    }
    cursor.finish();
    if (version !== TOC_VERSION) throw cursor.fault(`Version ${version} is unknown`);
    if (!entries) throw cursor.fault("There are no entries");
    this.#endFile();
    this.#firstChunk.push(this.#starts.length);
    return {
      text: cursor.bytes,
      tarSplitDigest,
      names: this.#names.finish(),
      contentOf: this.#contentOf.finish(),
      sizes: this.#sizes.finish(),
      digests: this.#digests.finish(),
      firstChunk: this.#firstChunk.finish(),
      chunkStarts: this.#starts.finish(),
      chunkEnds: this.#ends.finish(),
      chunkSizes: this.#chunkSizes.finish(),
      chunkDigests: this.#chunkDigests.finish(),
      chunkZeros: this.#zeros.finish(),
    };
  }

  #parseEntries(): void {
    const cursor = this.#cursor;
    for (let more = cursor.enter(BRACKET.array); more; more = cursor.next(BRACKET.array)) {
      if (++this.#entries > LIMITS.entries) {
        throw cursor.fault(`There are more than ${LIMITS.entries} entries`);
      }
      this.#parseEntry();
      this.#addEntry();
    }
  }

  #parseEntry(): void {
    const cursor = this.#cursor;
    const entry = this.#entry;
    entry.type = "";
    entry.name.start = NONE;
    entry.size =
      entry.offset =
      entry.endOffset =
      entry.chunkSize =
      entry.chunkOffset =
        0;
    entry.digest = entry.chunkDigest = undefined;
    entry.zeros = false;
    this.#seen.reset();
    for (let more = cursor.enter(BRACKET.object); more; more = cursor.next(BRACKET.object)) {
      cursor.key();
      const key = ENTRY_KEYS.find(cursor);
      this.#seen.add(cursor, key);
      this.#field(ENTRY[key]);
    }
    if (!TYPES.has(entry.type)) throw cursor.fault("Entry has an unknown type");
    if (entry.name.start === NONE) throw cursor.fault("Entry has no name");
  }

  #field(key: (typeof ENTRY)[number] | undefined): void {
    const cursor = this.#cursor;
    const entry = this.#entry;
    switch (key) {
      case undefined:
        cursor.skip();
        break;
      case "type":
        cursor.text();
        entry.type = this.#shortText();
        break;
      case "name": {
        cursor.text();
        if (cursor.string.escaped) cursor.decoded(); // only to check the escapes
        const { start, end, escaped } = cursor.string;
        entry.name.start = start;
        entry.name.end = end;
        entry.name.escaped = escaped;
        break;
      }
      case "digest":
        entry.digest = this.#digest(this.#digestBuffer);
        break;
      case "chunkDigest":
        entry.chunkDigest = this.#digest(this.#chunkDigestBuffer);
        break;
      case "chunkType": {
        cursor.text();
        const type = this.#shortText();
        if (type !== "" && type !== "zeros") throw cursor.fault("Chunk has an unknown type");
        entry.zeros = type === "zeros";
        break;
      }
      default:
        entry[key] = cursor.integer();
    }
  }

  /** The last string, which is one of few short words. */
  #shortText(): string {
    const { start, end, escaped } = this.#cursor.string;
    if (escaped || end - start > 16) throw this.#cursor.fault("Unknown word");
    return toByteString(this.#cursor.bytes.subarray(start, end));
  }

  #digest(out: Uint8Array): Uint8Array {
    const cursor = this.#cursor;
    cursor.text();
    const { bytes, string: { start, end } } = cursor;
    let good = end - start === DIGEST_TEXT;
    for (let i = 0; good && i < DIGEST_PREFIX.length; i++) {
      good = bytes[start + i] === DIGEST_PREFIX.charCodeAt(i);
    }
    const hex = start + DIGEST_PREFIX.length;
    for (let i = 0; good && i < out.length; i++) {
      const high = nibble(bytes[hex + 2 * i]!);
      const low = nibble(bytes[hex + 2 * i + 1]!);
      good = high >= 0 && low >= 0;
      out[i] = high * 16 + low;
    }
    if (!good) throw cursor.fault("Not a sha256 digest");
    return out;
  }

  #addEntry(): void {
    const entry = this.#entry;
    if (entry.type === "chunk") return this.#addChunk();
    this.#endFile();
    const { start, end, escaped } = entry.name;
    this.#names.push(start);
    this.#names.push(end);
    this.#names.push(escaped ? 1 : 0);
    if (entry.type !== "reg" || entry.size === 0) {
      this.#contentOf.push(NONE);
      return;
    }
    this.#contentOf.push(this.#sizes.length);
    this.#addContent();
  }

  #addContent(): void {
    const entry = this.#entry;
    const fault = (message: string) => this.#cursor.fault(message);
    if (entry.digest === undefined) throw fault("File has no digest");
    if (entry.offset < 1 || entry.offset < this.#position) {
      throw fault("Contents overlap, or are not in the order of the entries");
    }
    if (entry.endOffset <= entry.offset || entry.endOffset > this.#dataEnd) {
      throw fault(`Content ${entry.offset}..${entry.endOffset} is outside of the data`);
    }
    this.#total += entry.size;
    if (this.#total > LIMITS.contents) {
      throw fault(`Contents take more than ${LIMITS.contents} bytes`);
    }
    this.#sizes.push(entry.size);
    const at = this.#digests.add();
    this.#digests.bytes.set(entry.digest, at);
    this.#firstChunk.push(this.#starts.length);
    this.#position = this.#fileEnd = entry.endOffset;
    this.#fileSize = entry.size;
    this.#fileName = { ...entry.name };
    if (entry.chunkOffset !== 0) throw fault("First chunk of a file does not start at 0");
    const whole = entry.chunkSize === 0;
    if (whole && (entry.chunkDigest !== undefined || entry.zeros)) {
      throw fault("Chunk has no size");
    }
    const size = whole ? entry.size : entry.chunkSize;
    this.#pushChunk(size, whole ? entry.digest : entry.chunkDigest);
    this.#uncovered = entry.size - size;
    if (this.#uncovered < 0) throw fault("Chunk is larger than its file");
  }

  #addChunk(): void {
    const entry = this.#entry;
    const fault = (message: string) => this.#cursor.fault(message);
    if (this.#uncovered === NONE || !this.#ofSameFile()) throw fault("Chunk without a file");
    if (entry.chunkOffset !== this.#fileSize - this.#uncovered) {
      throw fault("Chunks leave a gap, or overlap");
    }
    if (entry.chunkSize < 1 || entry.chunkSize > this.#uncovered) {
      throw fault("Chunk is empty, or larger than its file");
    }
    const before = this.#starts.length - 1;
    const starts = this.#lastStart;
    if (entry.offset <= starts || entry.offset >= this.#fileEnd) {
      throw fault("Chunk is outside of its file's data");
    }
    this.#checkFrame(entry.offset - starts, before);
    this.#ends.push(entry.offset);
    this.#pushChunk(entry.chunkSize, entry.chunkDigest);
    this.#uncovered -= entry.chunkSize;
  }

  #ofSameFile(): boolean {
    const { bytes } = this.#cursor;
    const [a, b] = [this.#fileName, this.#entry.name];
    if (a.end - a.start !== b.end - b.start) return false;
    for (let i = a.end - a.start - 1; i >= 0; i--) {
      if (bytes[a.start + i] !== bytes[b.start + i]) return false;
    }
    return true;
  }

  #lastStart = 0;

  #pushChunk(size: number, digest: Uint8Array | undefined): void {
    const { offset, zeros } = this.#entry;
    if (digest === undefined && !zeros) throw this.#cursor.fault("Chunk has no digest");
    this.#lastStart = offset;
    this.#starts.push(offset);
    this.#chunkSizes.push(size);
    const at = this.#chunkDigests.add();
    if (digest !== undefined) this.#chunkDigests.bytes.set(digest, at);
    this.#zeros.push(zeros ? 1 : 0);
  }

  #checkFrame(length: number, chunk: number): void {
    if (length > LIMITS.frame) {
      throw this.#cursor.fault(`Chunk ${chunk} takes ${length} compressed bytes: too large`);
    }
  }

  /** The last chunk of a file ends where its content does. */
  #endFile(): void {
    if (this.#uncovered === NONE) return;
    if (this.#uncovered > 0) throw this.#cursor.fault("Chunks do not cover their file");
    this.#checkFrame(this.#fileEnd - this.#lastStart, this.#starts.length - 1);
    this.#ends.push(this.#fileEnd);
    this.#uncovered = NONE;
  }
}

/**
 * Parses a table of contents (spec: zstd-chunked 3). Everything that is used later is checked here:
 * contents are in order and disjoint, chunks cover their files exactly, digests are sha256.
 *
 * @param text the unpacked JSON, whose digest was checked; it must not change as long as the result
 *   is used
 * @param dataEnd offset in the blob where the data frames end
 * @throws {FormatError} at the first fault; what the layer then needs is a full pull
 */
export function parseToc(text: Uint8Array, dataEnd: number): Toc {
  return new TocParser(text, dataEnd).parse();
}
