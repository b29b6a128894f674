/**
 * A dump of everything in an image, made for comparing two images with `diff` (spec: erofs 5.6).
 *
 * @module
 */
import { fromByteString } from "../base/mod.ts";
import { inodeEnd, type Segment, type SegmentKind, Segments } from "./debug_segments.ts";
import {
  asText,
  fieldLine,
  hexDump,
  quoteText,
  showBytes,
  ShownLayout,
  showNumbers,
  signedHex,
  textOrHex,
  u32s,
} from "./debug_text.ts";
import { DirectoryCursor } from "./directory.ts";
import {
  COMPOSEFS_HEADER,
  DIRENT,
  FORMAT_EXTENDED,
  FORMAT_LAYOUT_MASK,
  INODE_COMPACT,
  INODE_COMPACT_SIZE,
  INODE_EXTENDED,
  INODE_SLOT,
  LAYOUT_CHUNK,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  S_IF,
  S_IFMT,
  SUPERBLOCK,
  XATTR_HEADER,
  XATTR_HEADER_SIZE,
  XATTR_PREFIXES,
  XATTR_UNIT,
} from "./layout.ts";
import { ErofsImage } from "./read.ts";
import { InodeCursor } from "./read_inode.ts";
import { XattrCursor } from "./read_xattrs.ts";

/** Inline data up to this many bytes is shown as text if it is text. */
const MAX_TEXT = 128;

const LAYOUT_NAMES: Readonly<Record<number, string>> = {
  [LAYOUT_PLAIN]: "FlatPlain",
  [LAYOUT_INLINE]: "FlatInline",
  [LAYOUT_CHUNK]: "ChunkBased",
};

const MODE_NAMES: Readonly<Record<number, string>> = {
  [S_IF.regular]: "regular file",
  [S_IF.char]: "chardev",
  [S_IF.directory]: "directory",
  [S_IF.block]: "blockdev",
  [S_IF.fifo]: "fifo",
  [S_IF.symlink]: "symlink",
  [S_IF.socket]: "socket",
};

const TYPE_NAMES = [
  "Unknown",
  "RegularFile",
  "Directory",
  "CharacterDevice",
  "BlockDevice",
  "Fifo",
  "Socket",
  "Symlink",
] as const;

function showFormat(format: number): string {
  const inode = (format & FORMAT_EXTENDED) !== 0 ? "Extended" : "Compact";
  return `${format} = ${inode} | Ok(${LAYOUT_NAMES[format & FORMAT_LAYOUT_MASK]})`;
}

function showMode(mode: number): string {
  const octal = mode.toString(8).padStart(6, "0");
  return `0${octal} (${MODE_NAMES[mode & S_IFMT] ?? "INVALID"})`;
}

const INODE_OPTIONS = {
  labels: { icount: "xattr_icount" },
  shows: { format: showFormat, mode: showMode },
  optional: ["mode"],
} as const;

const SHOWN = {
  header: new ShownLayout(COMPOSEFS_HEADER, {
    order: ["magic", "flags", "version", "composefsVersion", "unused"],
    numbers: ["unused"],
  }),
  superblock: new ShownLayout(SUPERBLOCK, { labels: { reserved: "reserved2" } }),
  compact: new ShownLayout(INODE_COMPACT, {
    ...INODE_OPTIONS,
    order: [
      ...["format", "icount", "mode", "reserved", "size", "u", "ino", "uid", "gid", "nlink"],
      "reserved2",
    ],
  }),
  extended: new ShownLayout(INODE_EXTENDED, INODE_OPTIONS),
  xattrs: new ShownLayout(XATTR_HEADER),
  dirent: new ShownLayout(DIRENT, {
    labels: { nid: "inode_offset", type: "file_type" },
    shows: { type: (type) => TYPE_NAMES[type] ?? TYPE_NAMES[0] },
  }),
} as const;

/** Shows the parts of one image. */
class Dump {
  readonly #image: ErofsImage;
  readonly #segments: Segments;
  readonly #inode: InodeCursor;
  readonly #xattrs: XattrCursor;
  readonly #entries: DirectoryCursor;

  constructor(image: ErofsImage) {
    this.#image = image;
    this.#segments = new Segments(image);
    this.#inode = new InodeCursor(image);
    this.#xattrs = new XattrCursor(image);
    this.#entries = new DirectoryCursor(image);
  }

  *lines(): Generator<string, void, undefined> {
    const { bytes } = this.#image;
    const spaces = new Map<string, number>();
    const paddings = new Map<string, Padding>();
    let last: SegmentKind | "" = "";
    let offset = 0;
    for (const segment of this.#segments.sorted()) {
      add(spaces, segment.kind, segment.size);
      if (offset < segment.offset) {
        yield* unassigned(bytes, offset, segment.offset);
        addPadding(paddings, { from: last, to: segment.kind, size: segment.offset - offset });
      } else if (offset > segment.offset) {
        yield "*** Overlapping segments!\n\n";
      }
      last = segment.kind;
      yield* this.#segment(segment);
      offset = segment.offset + segment.size;
    }
    if (offset < bytes.length) {
      yield* unassigned(bytes, offset, bytes.length);
      addPadding(paddings, { from: last, to: "eof", size: bytes.length - offset });
      yield "\n";
    }
    yield* statistics(bytes.length, spaces, [...paddings.values()]);
  }

  *#segment(segment: Segment): Generator<string, void, undefined> {
    const { bytes, view, inodesOffset, xattrsOffset, blockSize } = this.#image;
    const { offset } = segment;
    for (const path of segment.paths) {
      yield `# Filename ${textOrHex(fromByteString(this.#segments.path(path)))}\n`;
    }
    const at = offset.toString(16).padStart(8, "0");
    switch (segment.kind) {
      case "header":
        yield `${at} ComposefsHeader\n`;
        yield* SHOWN.header.lines(view, offset, offset);
        break;
      case "superblock":
        yield `${at} Superblock\n`;
        yield* SHOWN.superblock.lines(view, offset, offset);
        break;
      case "compact inode":
      case "extended inode":
        yield `# nid #${Math.floor((offset - inodesOffset) / INODE_SLOT)}\n${at} `;
        yield* this.#showInode((offset - inodesOffset) / INODE_SLOT);
        break;
      case "shared xattr": {
        const number = Math.floor(Math.max(0, offset - xattrsOffset) / XATTR_UNIT);
        this.#xattrs.openShared(offset);
        yield `# xattr #${number}\n${at} ${this.#showXattr()}\n`;
        // A segment of one line ends without the empty line that the others have.
        return;
      }
      case "directory block":
        yield `# block #${Math.floor(offset / blockSize)}\n${at} Directory block`;
        yield* this.#showEntries(offset, offset + segment.size);
        break;
      case "data block":
        yield `# block #${Math.floor(offset / blockSize)}\n${at} Data block\n`;
        yield* hexDump(bytes.subarray(offset, offset + segment.size));
        break;
    }
    yield "\n";
  }

  *#showInode(nid: number): Generator<string, void, undefined> {
    const inode = this.#inode;
    const { bytes, view } = this.#image;
    inode.load(nid);
    const { offset } = inode;
    const compact = inode.headerSize === INODE_COMPACT_SIZE;
    yield compact ? "CompactInodeHeader\n" : "ExtendedInodeHeader\n";
    yield* (compact ? SHOWN.compact : SHOWN.extended).lines(view, offset, offset);
    if (inode.xattrSize > 0) yield* this.#showXattrs(inode);
    const start = inode.tailOffset;
    const end = inodeEnd(this.#image, inode);
    if (start === end) return;
    if (inode.isDirectory) {
      yield `     +${(start - offset).toString(16).padStart(2, "0")}` +
        " --- inline directory entries ---";
      yield* this.#showEntries(start, end);
      return;
    }
    const data = bytes.subarray(start, end);
    const isText = data.length <= MAX_TEXT && data.every((b) => b >= 0x20 && b !== 0x7f);
    const text = isText ? asText(data) : undefined;
    if (text !== undefined) yield fieldLine(start - offset, "inline", quoteText(text));
    else yield* hexDump(data, start - offset);
  }

  *#showXattrs(inode: InodeCursor): Generator<string, void, undefined> {
    const { bytes, view } = this.#image;
    const at = inode.xattrOffset;
    yield* SHOWN.xattrs.lines(view, at, inode.offset);
    const count = bytes[at + XATTR_HEADER.sharedCount[0]]!;
    if (count > 0) {
      const references = at + XATTR_HEADER_SIZE;
      const shown = showNumbers(u32s(view, references, count));
      yield fieldLine(references - inode.offset, "shared xattrs", shown);
    }
    const xattrs = this.#xattrs;
    xattrs.open(inode);
    while (xattrs.next()) {
      if (xattrs.shared >= 0) continue;
      yield fieldLine(xattrs.offset - inode.offset, "xattr", this.#showXattr());
    }
  }

  #showXattr(): string {
    const { bytes } = this.#image;
    const { index, suffixStart, valueStart, valueEnd, offset, size } = this.#xattrs;
    const prefix = XATTR_PREFIXES[index] ?? "?";
    const suffix = textOrHex(bytes.subarray(suffixStart, valueStart));
    const value = textOrHex(bytes.subarray(valueStart, valueEnd));
    const padding = bytes.subarray(valueEnd, offset + size);
    const junk = padding.some((b) => b !== 0) ? ` ${showBytes(padding)}` : "";
    return `(${index} ${valueStart - suffixStart} ${valueEnd - valueStart}) ` +
      `${prefix}${suffix} = ${value}${junk}`;
  }

  *#showEntries(start: number, end: number): Generator<string, void, undefined> {
    const { bytes, view } = this.#image;
    const entries = this.#entries;
    entries.openPart(start, end);
    while (entries.next()) {
      yield "\n";
      yield* SHOWN.dirent.lines(view, entries.offset, start);
      const name = textOrHex(bytes.subarray(entries.nameStart, entries.nameEnd));
      yield `${signedHex(entries.nameStart - start)}     # name: ${name}\n`;
    }
  }
}

/** What lies between two kinds of parts. */
interface Padding {
  readonly from: string;
  readonly to: string;
  size: number;
}

function add(sizes: Map<string, number>, key: string, size: number): void {
  sizes.set(key, (sizes.get(key) ?? 0) + size);
}

function addPadding(paddings: Map<string, Padding>, padding: Padding): void {
  const key = `${padding.from}\0${padding.to}`;
  const known = paddings.get(key);
  if (known === undefined) paddings.set(key, padding);
  else known.size += padding.size;
}

function* unassigned(
  bytes: Uint8Array,
  start: number,
  end: number,
): Generator<string, void, undefined> {
  const part = bytes.subarray(start, end);
  const at = start.toString(16).padStart(8, "0");
  if (part.every((b) => b === 0)) {
    yield `${at} Padding\n${signedHex(part.length)}     # ${part.length} nul bytes\n\n`;
    return;
  }
  yield `${at} Unknown content\n`;
  yield* hexDump(part);
  yield "\n";
}

/** A share with two decimals, ties to even as the reference rounds. */
function percent(size: number, total: number): string {
  const scaled = size * 10_000;
  let hundredths = Math.floor(scaled / total);
  const twice = 2 * (scaled - hundredths * total);
  if (twice > total || (twice === total && hundredths % 2 === 1)) hundredths++;
  const text = String(hundredths).padStart(3, "0");
  return `${text.slice(0, -2)}.${text.slice(-2)}`;
}

function* statistics(
  total: number,
  spaces: ReadonlyMap<string, number>,
  paddings: Padding[],
): Generator<string, void, undefined> {
  const share = (size: number) => `${size}B, ${percent(size, total)}%\n`;
  yield `Space statistics (total size ${total}B):\n`;
  for (const [kind, size] of [...spaces].sort(([a], [b]) => a < b ? -1 : 1)) {
    yield `  ${kind} = ${share(size)}`;
  }
  paddings.sort((a, b) => a.from < b.from || (a.from === b.from && a.to < b.to) ? -1 : 1);
  for (const { from, to, size } of paddings) {
    yield `  padding ${from} -> ${to} = ${share(size)}`;
  }
}

/**
 * Dumps an image as text: every part in the order of the offsets with the paths that lead to it and
 * its fields that are not zero, gaps, and statistics (spec: erofs 5.6). The image need not be one of
 * composefs: only what opening needs is checked, not the rules of the format.
 *
 * @param bytes the whole image
 * @returns pieces of text to be written one after another
 * @throws {FormatError} when the image is not readable; some text may have been produced before
 */
export function debugImage(bytes: Uint8Array): Iterable<string> {
  return new Dump(new ErofsImage(bytes)).lines();
}
