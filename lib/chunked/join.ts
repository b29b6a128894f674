import { FormatError } from "../base/mod.ts";
import { NumberColumn } from "./columns.ts";
import { decodeJsonString } from "./json.ts";
import { FILE_LINE, type TarSplitLine } from "./tar_split.ts";
import type { Toc } from "./toc.ts";

/** Bytes of a tar header, and where its type flag is (spec: oci 2.2). */
const TAR_HEADER = { size: 512, type: [156, "u8"] } as const;
/** Type flags of regular files: `0`, NUL and `7`. */
const REGULAR = [0x30, 0x00, 0x37];

const NONE = -1;

function fail(message: string): FormatError {
  return new FormatError("zstd:chunked", message);
}

/** Length in bytes of the well-formed UTF-8 sequence at `at`; 0 when there is none. */
function sequence(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  const second = bytes[at + 1]!;
  // Overlong forms, surrogates, and what is above U+10FFFF.
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let i = 2; i < length; i++) {
    if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  }
  return length;
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Text as Go makes it of any bytes: each byte that is not part of UTF-8 becomes one U+FFFD (spec:
 * zstd-chunked 3), where `TextDecoder` would make one of several.
 */
export function lossyText(bytes: Uint8Array): string {
  let out = "";
  let good = 0;
  for (let at = 0; at < bytes.length;) {
    const length = sequence(bytes, at);
    if (length > 0) {
      at += length;
      continue;
    }
    out += utf8.decode(bytes.subarray(good, at)) + "\ufffd";
    good = ++at;
  }
  return out + utf8.decode(bytes.subarray(good));
}

/** Name of an entry that is no chunk, by its number; as lossy as the table has it. */
export function tocName(toc: Toc, entry: number): string {
  const start = toc.names[3 * entry]!;
  const end = toc.names[3 * entry + 1]!;
  const escaped = toc.names[3 * entry + 2] === 1;
  return decodeJsonString(toc.text, { start, end, escaped }, "zstd:chunked TOC");
}

function lineName(line: TarSplitLine): string {
  if (line.rawName !== undefined) return lossyText(line.rawName);
  return decodeJsonString(line.text, line.name!, "tar-split");
}

/** Whether entry and line have the same name; mostly it is written the same way too. */
function sameName(toc: Toc, entry: number, line: TarSplitLine): boolean {
  if (line.name !== undefined) {
    const start = toc.names[3 * entry]!;
    const length = toc.names[3 * entry + 1]! - start;
    const at = line.name.start;
    let same = line.name.end - at === length;
    for (let i = 0; same && i < length; i++) same = toc.text[start + i] === line.text[at + i];
    if (same) return true;
  }
  return tocName(toc, entry) === lineName(line);
}

/** Follows the lines: which of them are files with content (spec: zstd-chunked 4). */
class Contents {
  #regular: boolean | undefined;

  /** Takes a segment; its end is the header of the file that follows. */
  segment(payload: Uint8Array): void {
    const at = payload.length - TAR_HEADER.size;
    this.#regular = at < 0 ? undefined : REGULAR.includes(payload[at + TAR_HEADER.type[0]]!);
  }

  /** Whether the file line has content: its header decides, since links can have sizes too. */
  has(line: TarSplitLine): boolean {
    if (line.size === 0) return false;
    if (this.#regular === undefined) throw fail("File of the tar-split has no header");
    const { size } = line;
    const has = this.#regular && size > 0;
    this.#regular = undefined;
    return has;
  }
}

/** Checks that line and entry agree on the content; returns its number, or -1. */
function contentFor(toc: Toc, entry: number, content: { has: boolean; size: number }): number {
  const number = toc.contentOf[entry]!;
  if (content.has !== (number !== NONE) || (content.has && toc.sizes[number] !== content.size)) {
    throw fail("TOC and tar-split have different contents for a file");
  }
  return number;
}

function joinByPosition(toc: Toc, lines: Iterable<TarSplitLine>): Float64Array {
  const out = new NumberColumn();
  const contents = new Contents();
  const count = toc.contentOf.length;
  for (const line of lines) {
    if (line.type !== FILE_LINE) {
      contents.segment(line.payload);
      continue;
    }
    const entry = out.length;
    if (entry >= count) throw fail("TOC has fewer entries than the tar-split");
    if (!sameName(toc, entry, line)) throw fail("TOC and tar-split are in different order");
    out.push(contentFor(toc, entry, { has: contents.has(line), size: line.size }));
  }
  if (out.length !== count) throw fail("TOC has more entries than the tar-split");
  return out.finish();
}

function joinByName(toc: Toc, lines: Iterable<TarSplitLine>): Float64Array {
  const entries = new Map<string, number>();
  for (let entry = 0; entry < toc.contentOf.length; entry++) {
    const name = tocName(toc, entry);
    if (entries.has(name)) throw fail("TOC has a name twice");
    entries.set(name, entry);
  }
  const out = new NumberColumn();
  const contents = new Contents();
  for (const line of lines) {
    if (line.type !== FILE_LINE) {
      contents.segment(line.payload);
      continue;
    }
    const name = lineName(line);
    const entry = entries.get(name);
    if (entry === undefined) throw fail("File of the tar-split is not in the TOC, or twice");
    entries.delete(name);
    out.push(contentFor(toc, entry, { has: contents.has(line), size: line.size }));
  }
  if (entries.size > 0) throw fail("TOC has more entries than the tar-split");
  return out.finish();
}

/**
 * Finds the content of each file of the tar-split (spec: zstd-chunked 4): by position, as all
 * writers put them, else by name.
 *
 * @param lines gives the lines from the start, each time it is called
 * @returns for each file line the number of its content in the table of contents; -1 for none
 * @throws {FormatError} when neither way fits, or for faults of the tar-split
 */
export function joinTarSplit(toc: Toc, lines: () => Iterable<TarSplitLine>): Float64Array {
  try {
    return joinByPosition(toc, lines());
  } catch (error) {
    if (!(error instanceof FormatError) || error.format !== "zstd:chunked") throw error;
    try {
      return joinByName(toc, lines());
    } catch (second) {
      // The first reason is the telling one: hardly any writer mixes the order.
      if (second instanceof FormatError) throw error;
      throw second;
    }
  }
}
