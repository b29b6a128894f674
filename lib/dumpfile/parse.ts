import { type ByteString, displayByteString, type HashName } from "../base/mod.ts";
import {
  Directory,
  type FileTree,
  Leaf,
  type LeafContent,
  type LeafNotes,
  NO_XATTRS,
  type Stat,
  type TreeNotes,
} from "../tree/mod.ts";
import { DumpfileError } from "./error.ts";
import { EscapeFault, unescapeField } from "./escape.ts";
import { HardlinkResolver } from "./hardlinks.ts";
import { NumberFault, parseDecimal, parseOctal, parseSeconds } from "./numbers.ts";
import { PathFault, PathResolver, quotedPath } from "./paths.ts";
import { RegularFault, RegularFiles } from "./regular.ts";
import { Segmenter } from "./segments.ts";
import { XattrFault, XattrParser } from "./xattrs.ts";

/** Whose rules apply where the two reference implementations differ (spec: erofs 6). */
export type DumpfileDialect = "rs" | "c";

/** Options of {@linkcode DumpfileParser}. */
export interface DumpfileOptions {
  /** Whose rules apply. @default "rs" */
  dialect?: DumpfileDialect;
  /** The algorithm of the digests; by default that of the first digest. */
  hash?: HashName;
  /** With the `c` dialect, also apply what `CFS_PARSE_STRICT` asks of the C tools. @default false */
  strict?: boolean;
  /** Is told of accepted oddities, such as an attribute that is given twice. */
  onWarning?: (warning: { line: number; message: string }) => void;
}

const SPACE = 0x20;
const BACKSLASH = 0x5c;
const RETURN = 0x0d;
const NEWLINE = 0x0a;
const AT = 0x40;
const DOT = 0x2e;
const DASH = 0x2d;

const FIELDS = [
  "path",
  "size",
  "mode",
  "nlink",
  "uid",
  "gid",
  "rdev",
  "mtime",
  "payload",
  "content",
  "digest",
] as const;
const PATH = 0;
const SIZE = 1;
const MODE = 2;
const NLINK = 3;
const UID = 4;
const GID = 5;
const RDEV = 6;
const MTIME = 7;
const PAYLOAD = 8;
const CONTENT = 9;
const DIGEST = 10;

const U32_MAX = 0xffffffff;
const SIZE_MAX = 2 ** 53;
const SYMLINK_MAX = { rs: 1024, c: 4095 } as const;
const NSEC_LIMIT = 1_000_000_000;

const S_IFMT = 0o170000;
const PERMISSIONS = 0o7777;
const TYPE = {
  socket: 0o140000,
  symlink: 0o120000,
  regular: 0o100000,
  block: 0o060000,
  directory: 0o040000,
  char: 0o020000,
  fifo: 0o010000,
} as const;

/** A fault of a line that only the parser knows. */
class LineFault extends Error {}

/**
 * Parses a dumpfile that arrives in pieces (spec: erofs 2). The file is bytes, not text. Use one
 * parser for one file.
 */
export class DumpfileParser {
  readonly #dialect: DumpfileDialect;
  readonly #strict: boolean;
  readonly #paths: PathResolver;
  readonly #hardlinks: HardlinkResolver;
  readonly #xattrs: XattrParser;
  readonly #segments: Segmenter;
  readonly #notes: TreeNotes | undefined;
  readonly #regular: RegularFiles;
  /** Ends of the fields of the current line. */
  readonly #ends: Int32Array = new Int32Array(FIELDS.length);
  #bytes: Uint8Array = new Uint8Array(0);
  #text: ByteString = "";
  #start = 0;
  #end = 0;
  #line = 0;
  /** Number of fixed fields that the current line has. */
  #count = 0;
  /** Whether the current line has escapes or NUL bytes. */
  #special = false;
  #root: Directory | undefined;
  #endsWithNewline = true;
  /** The last time seen: most lines repeat it, and bigints cost. */
  #seconds = 0n;
  #mtimeText = " "; // not the text of any field
  #nanoseconds = 0;

  /** Creates a parser. */
  constructor(options: DumpfileOptions = {}) {
    this.#dialect = options.dialect ?? "rs";
    this.#strict = options.strict ?? false;
    this.#notes = this.#dialect === "c" ? new Map() : undefined;
    this.#paths = new PathResolver(this.#dialect);
    this.#hardlinks = new HardlinkResolver(this.#paths, this.#notes);
    this.#regular = new RegularFiles(this.#dialect, options.hash);
    this.#xattrs = new XattrParser(this.#dialect, (name) =>
      options.onWarning?.({
        line: this.#line,
        message: `Extended attribute "${displayByteString(name)}" is given twice`,
      }));
    this.#segments = new Segmenter((bytes, text) => this.#segment(bytes, text));
  }

  /**
   * Adds a piece of the file. The parser keeps no reference to `chunk`.
   *
   * @throws {DumpfileError} for the first line that cannot be accepted
   */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#endsWithNewline = chunk[chunk.length - 1] === NEWLINE;
    this.#segments.push(chunk);
  }

  /**
   * Ends the file.
   *
   * @returns the tree; with the `c` dialect it carries notes for the writer
   * @throws {DumpfileError} when there is no root, or a hard link leads nowhere
   * @throws {FormatError} when a whiteout has more than one name
   */
  finish(): FileTree {
    this.#segments.finish();
    if (this.#root === undefined) {
      throw new DumpfileError("Dumpfile is empty, expected root directory entry");
    }
    if (this.#strict && !this.#endsWithNewline) throw new DumpfileError("Missing trailing newline");
    this.#hardlinks.finish();
    const tree: FileTree = { root: this.#root };
    if (this.#notes !== undefined) tree.notes = this.#notes;
    return tree;
  }

  #segment(bytes: Uint8Array, text: ByteString): void {
    this.#bytes = bytes;
    this.#text = text;
    let start = 0;
    while (start < bytes.length) {
      let end = bytes.indexOf(NEWLINE, start);
      if (end < 0) end = bytes.length;
      this.#line++;
      this.#start = start;
      this.#end = end > start && bytes[end - 1] === RETURN ? end - 1 : end;
      start = end + 1;
      if (this.#isBlank()) continue;
      try {
        this.#entry();
      } catch (error) {
        throw this.#explain(error);
      }
    }
  }

  #isBlank(): boolean {
    for (let i = this.#start; i < this.#end; i++) {
      const byte = this.#bytes[i]!;
      if (byte !== SPACE && (byte < 9 || byte > 13)) return false;
    }
    return true;
  }

  /** Adds the line to a fault; anything else is a defect and passes. */
  #explain(error: unknown): unknown {
    if (
      error instanceof LineFault || error instanceof EscapeFault || error instanceof NumberFault ||
      error instanceof PathFault || error instanceof XattrFault || error instanceof RegularFault
    ) {
      const end = Math.min(this.#end, this.#start + 200);
      const text = this.#text.substring(this.#start, end);
      return new DumpfileError(error.message, { line: this.#line, text });
    }
    return error;
  }

  /** Finds the ends of the fixed fields of the current line. */
  #split(): void {
    const bytes = this.#bytes;
    const ends = this.#ends;
    const end = this.#end;
    let count = 0;
    let special = false;
    for (let i = this.#start; i < end; i++) {
      const byte = bytes[i]!;
      if (byte === SPACE) {
        ends[count++] = i;
        if (count === ends.length) break;
      } else if (byte === BACKSLASH || byte === 0) {
        special = true;
      }
    }
    if (count < ends.length) ends[count++] = end;
    this.#count = count;
    this.#special = special;
  }

  #fieldStart(field: number): number {
    return field === 0 ? this.#start : this.#ends[field - 1]! + 1;
  }

  /** A field without its escapes. */
  #field(field: number): ByteString {
    const raw = this.#text.substring(this.#fieldStart(field), this.#ends[field]!);
    return this.#special ? unescapeField(raw) : raw;
  }

  #isNone(field: number): boolean {
    if (field >= this.#count) return true;
    const start = this.#fieldStart(field);
    return this.#ends[field]! - start === 1 && this.#bytes[start] === DASH;
  }

  #number(field: number, limit: number): number {
    return parseDecimal(this.#bytes, this.#fieldStart(field), this.#ends[field]!, limit);
  }

  #entry(): void {
    this.#split();
    const paths = this.#paths;
    const parent = paths.resolve(this.#field(PATH), !this.#special);
    const path = paths.path;
    const name = paths.name;
    this.#need(MODE);
    const size = this.#number(SIZE, SIZE_MAX);
    const modeStart = this.#fieldStart(MODE);
    const isLink = this.#bytes[modeStart] === AT;
    const mode = parseOctal(this.#bytes, isLink ? modeStart + 1 : modeStart, this.#ends[MODE]!);
    // The C tools take what is missing after the time for absent.
    this.#need(isLink ? PAYLOAD : this.#dialect === "c" ? MTIME : DIGEST);
    if (this.#root === undefined && path !== "/") {
      throw new DumpfileError(
        `Dumpfile must start with root directory entry, found: ${quotedPath(path)}`,
      );
    }
    const type = mode & S_IFMT;
    if (isLink) {
      if (type === TYPE.directory) throw new LineFault("Invalid hardlinked directory");
      if (path === "/") throw new LineFault("Root must be a directory");
      if (parent === undefined) throw paths.missing();
      this.#insert(parent, name, this.#target(parent, name));
      return;
    }
    if (path === "/") {
      this.#setRoot(type, this.#stat(mode));
      return;
    }
    if (parent === undefined) throw paths.missing();
    const stat = this.#stat(mode);
    if (type === TYPE.directory) {
      this.#checkRdev();
      this.#checkNoData();
      const directory = new Directory(stat);
      this.#insert(parent, name, directory);
      paths.add(path, directory);
      return;
    }
    const leaf = new Leaf(stat, this.#content(mode, size));
    if (this.#notes !== undefined) this.#note(leaf, this.#notes);
    this.#insert(parent, name, leaf);
    if (leaf.isWhiteout && this.#number(NLINK, U32_MAX) > 1) {
      throw new DumpfileError(
        `invalid dumpfile: whiteout entry ${quotedPath(path)} has nlink > 1`,
      );
    }
  }

  /** Checks that the line has fields up to `last`. */
  #need(last: number): void {
    if (this.#count <= last) throw new LineFault(`Missing ${FIELDS[this.#count]}`);
  }

  #setRoot(type: number, stat: Stat): void {
    if (this.#root !== undefined) throw new LineFault("Can't have multiple roots");
    if (type !== TYPE.directory) throw new LineFault("Root must be a directory");
    this.#checkRdev();
    this.#checkNoData();
    this.#root = new Directory(stat);
    this.#paths.add("", this.#root);
  }

  #insert(parent: Directory, name: ByteString, node: Directory | Leaf): void {
    const entries = parent.entries;
    const before = entries.size;
    entries.set(name, node);
    if (entries.size === before) throw new LineFault("Duplicate entry");
  }

  #target(directory: Directory, name: ByteString): Leaf {
    if (this.#isNone(PAYLOAD)) throw new LineFault("Missing payload");
    const target = this.#field(PAYLOAD);
    return this.#hardlinks.leafFor({ directory, name, target, line: this.#line });
  }

  #stat(mode: number): Stat {
    // Parsed for its checks even where it is not used.
    this.#number(NLINK, U32_MAX);
    const uid = this.#number(UID, U32_MAX);
    const gid = this.#number(GID, U32_MAX);
    this.#time();
    const rest = this.#count === FIELDS.length ? this.#ends[DIGEST]! + 1 : this.#end + 1;
    return {
      mode: mode & PERMISSIONS,
      uid,
      gid,
      mtimeSec: this.#seconds,
      mtimeNsec: this.#nanoseconds,
      xattrs: rest > this.#end
        ? NO_XATTRS
        : this.#xattrs.parse(this.#text.substring(rest, this.#end)),
    };
  }

  #time(): void {
    const start = this.#fieldStart(MTIME);
    const end = this.#ends[MTIME]!;
    const known = this.#mtimeText;
    if (known.length === end - start && this.#text.startsWith(known, start)) return;
    const dot = this.#bytes.indexOf(DOT, start);
    if (dot < 0 || dot >= end) throw new LineFault("Missing . in mtime");
    this.#seconds = parseSeconds(this.#bytes, start, dot);
    const nanoseconds = parseDecimal(this.#bytes, dot + 1, end, SIZE_MAX);
    if (nanoseconds >= NSEC_LIMIT) {
      throw new LineFault(
        `Invalid mtime nanoseconds: ${nanoseconds} (must be < 1_000_000_000)`,
      );
    }
    this.#nanoseconds = nanoseconds;
    this.#mtimeText = this.#text.substring(start, end);
  }

  #content(mode: number, size: number): LeafContent {
    const type = mode & S_IFMT;
    switch (type) {
      case TYPE.regular:
        this.#checkRdev();
        return this.#regular.content({
          size,
          payload: this.#isNone(PAYLOAD) ? undefined : this.#field(PAYLOAD),
          content: this.#isNone(CONTENT) ? undefined : this.#field(CONTENT),
          digest: this.#isNone(DIGEST) ? undefined : this.#field(DIGEST),
        });
      case TYPE.symlink:
        return this.#symlink(size);
      case TYPE.block:
      case TYPE.char:
        this.#checkNoData();
        return { type: type === TYPE.char ? "char" : "block", rdev: this.#rdev() };
      case TYPE.fifo:
      case TYPE.socket:
        this.#checkRdev();
        this.#checkNoData();
        return { type: type === TYPE.fifo ? "fifo" : "socket" };
      default:
        throw new LineFault(`Unhandled file type from raw mode: ${mode}`);
    }
  }

  #symlink(size: number): LeafContent {
    this.#checkNoData();
    this.#checkRdev();
    if (this.#isNone(PAYLOAD)) throw new LineFault("Missing payload");
    const target = this.#field(PAYLOAD);
    if (target === "") throw new LineFault("Invalid empty path");
    if (target.includes("\0")) throw new LineFault("Invalid embedded NUL");
    const limit = SYMLINK_MAX[this.#dialect];
    if (target.length > limit) {
      throw new LineFault(`Symlink target length ${target.length} exceeds limit ${limit}`);
    }
    if (this.#strict && size !== target.length) {
      throw new LineFault(`Invalid symlink size ${size}, must match length ${target.length}`);
    }
    return { type: "symlink", target };
  }

  #rdev(): number {
    const start = this.#fieldStart(RDEV);
    const rdev = parseDecimal(this.#bytes, start, this.#ends[RDEV]!, SIZE_MAX);
    if (rdev > U32_MAX) throw new LineFault(`device number ${rdev} does not fit in 32 bits`);
    return rdev;
  }

  /** The C tools ignore a device number where there can be none, unless they are strict. */
  #checkRdev(): void {
    const rdev = this.#number(RDEV, SIZE_MAX);
    if (rdev === 0) return;
    if (this.#strict) throw new LineFault("Non-zero devnum on non-device");
    if (this.#dialect === "rs") {
      throw new LineFault(`entry cannot have device (rdev) ${rdev}`);
    }
  }

  /** The C tools ignore content and digest where there can be none, unless they are strict. */
  #checkNoData(): void {
    if (this.#dialect === "c" && !this.#strict) return;
    if (!this.#isNone(CONTENT)) throw new LineFault("entry cannot have content");
    if (!this.#isNone(DIGEST) && this.#dialect === "rs") {
      throw new LineFault("entry cannot have fsverity digest");
    }
  }

  /** Keeps what only the `c` dialect of the writer uses. */
  #note(leaf: Leaf, notes: TreeNotes): void {
    const nlink = this.#number(NLINK, U32_MAX);
    const isRegular = leaf.content.type === "external" || leaf.content.type === "sparse";
    const redirect = isRegular ? this.#regular.redirect : undefined;
    if (nlink === 1 && redirect === undefined) return;
    const note: LeafNotes = {};
    if (nlink !== 1) note.nlink = nlink;
    if (redirect !== undefined) note.redirect = redirect;
    notes.set(leaf, note);
  }
}

/**
 * Parses a whole dumpfile (spec: erofs 2).
 *
 * @throws {DumpfileError} for the first line that cannot be accepted
 * @throws {FormatError} when a whiteout has more than one name
 */
export function parseDumpfile(bytes: Uint8Array, options: DumpfileOptions = {}): FileTree {
  const parser = new DumpfileParser(options);
  parser.push(bytes);
  return parser.finish();
}
