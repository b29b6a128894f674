/** PEM files (RFC 7468). */
import { FormatError } from "../base/mod.ts";
import { decodeBase64 } from "./base64.ts";

/** A block of a PEM file. */
export interface PemBlock {
  /** What it says it is, for example `PUBLIC KEY`. */
  readonly label: string;
  /** Its content. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const BEGIN = /^-----BEGIN ([A-Z0-9 ]{1,64})-----[ \t\r]*$/gm;

/** Most blocks of one file. */
const MAX_BLOCKS = 1024;

/**
 * The block of a text that is nothing else.
 *
 * @throws {FormatError} when it is more, or less
 */
export function singlePemBlock(text: string): PemBlock {
  const blocks = pemBlocks(text);
  const [block] = blocks;
  const bare = /^\s*-----BEGIN [^]*-----END [A-Z0-9 ]+-----\s*$/.test(text);
  if (block !== undefined && blocks.length === 1 && bare) return block;
  throw new FormatError("PEM", `expected one PEM block and nothing else, found ${blocks.length}`);
}

/**
 * The blocks of a PEM text, with what stands between them left out.
 *
 * @throws {FormatError} when one has no end or is no base64
 */
export function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let at = 0;
  for (;;) {
    BEGIN.lastIndex = at;
    const begin = BEGIN.exec(text);
    if (begin === null) return blocks;
    const label = begin[1]!;
    const start = begin.index + begin[0].length;
    const marker = `-----END ${label}-----`;
    const end = text.indexOf(marker, start);
    if (end < 0) throw new FormatError("PEM", `PEM block "${label}" has no end`);
    const bytes = decodeBase64(text.slice(start, end).replace(/\s+/g, ""));
    if (bytes === undefined) throw new FormatError("PEM", `PEM block "${label}" is no base64`);
    if (blocks.length === MAX_BLOCKS) {
      throw new FormatError("PEM", `More than ${MAX_BLOCKS} PEM blocks`);
    }
    blocks.push({ label, bytes });
    at = end + marker.length;
  }
}
