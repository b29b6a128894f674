import { FormatError } from "../base/mod.ts";
import { base64Bound, decodeBase64 } from "./base64.ts";
import { BRACKET, JsonCursor, type JsonString, KeyTable, SeenKeys } from "./json.ts";
import { LIMITS } from "./layout.ts";

const FORMAT = "tar-split";
const NEWLINE = 0x0a;
const KEYS = ["type", "name", "name_raw", "size", "payload", "position"] as const;
const KEY_TABLE = new KeyTable(KEYS);

/** A file: what comes next in the tar is its content, if it has one. */
export const FILE_LINE = 1;
/** A segment: raw bytes of the tar. */
export const SEGMENT_LINE = 2;

const NOTHING = new Uint8Array(0);
/** First size of the buffers, which grow with the lines. */
const FIRST = 4096;

/** A line of the tar-split; the same object for each line, valid until the next one is asked for. */
export interface TarSplitLine {
  /** {@linkcode FILE_LINE} or {@linkcode SEGMENT_LINE}. */
  type: number;
  /** Bytes of content that a file line stands for. */
  size: number;
  /** The bytes of a segment; empty for a file. */
  payload: Uint8Array;
  /** The line's JSON text. */
  text: Uint8Array;
  /** Where a file's name is in the text; undefined when it is given raw, as `rawName`. */
  name: JsonString | undefined;
  /** A name that is not UTF-8. */
  rawName: Uint8Array | undefined;
}

/** Cuts pieces into lines; a line that lies in one piece is not copied. */
function* cutLines(pieces: Iterable<Uint8Array>): Generator<Uint8Array, void, undefined> {
  let held: Uint8Array = new Uint8Array(FIRST);
  let used = 0;
  const hold = (bytes: Uint8Array) => {
    if (used + bytes.length > LIMITS.tarSplitLine) {
      throw new FormatError(FORMAT, `Line is longer than ${LIMITS.tarSplitLine} bytes`);
    }
    if (used + bytes.length > held.length) {
      const grown = new Uint8Array(Math.max(held.length * 2, used + bytes.length));
      grown.set(held.subarray(0, used));
      held = grown;
    }
    held.set(bytes, used);
    used += bytes.length;
  };
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const end = piece.indexOf(NEWLINE, at);
      if (end < 0) {
        hold(piece.subarray(at));
        break;
      }
      const line = piece.subarray(at, end);
      at = end + 1;
      if (used === 0) yield line;
      else {
        hold(line);
        const whole = held.subarray(0, used);
        used = 0;
        yield whole;
      }
    }
  }
  if (used > 0) yield held.subarray(0, used);
}

class LineParser {
  readonly #line: TarSplitLine = {
    type: 0,
    size: 0,
    payload: NOTHING,
    text: NOTHING,
    name: undefined,
    rawName: undefined,
  };
  readonly #seen = new SeenKeys();
  #scratch = new Uint8Array(FIRST);

  parse(text: Uint8Array): TarSplitLine {
    const cursor = new JsonCursor(text, FORMAT);
    const line = this.#line;
    line.type = 0;
    line.size = 0;
    line.text = text;
    line.name = line.rawName = undefined;
    this.#seen.reset();
    let payload: JsonString | undefined;
    for (let more = cursor.enter(BRACKET.object); more; more = cursor.next(BRACKET.object)) {
      cursor.key();
      const key = KEY_TABLE.find(cursor);
      this.#seen.add(cursor, key);
      switch (KEYS[key]) {
        case "type":
          line.type = cursor.integer();
          break;
        case "size":
          line.size = cursor.integer();
          break;
        case "position":
          cursor.integer();
          break;
        case "payload":
          payload = this.#text(cursor);
          break;
        case "name":
          line.name = this.#text(cursor);
          if (line.name?.escaped) cursor.decoded(); // only to check the escapes
          break;
        case "name_raw": {
          const raw = this.#text(cursor);
          if (raw !== undefined) line.rawName = this.#decode(cursor, raw).slice();
          break;
        }
        default:
          cursor.skip();
      }
    }
    cursor.finish();
    if (line.type === FILE_LINE) {
      if ((line.name === undefined) === (line.rawName === undefined)) {
        throw cursor.fault("File line does not have one name");
      }
      line.payload = NOTHING;
    } else if (line.type === SEGMENT_LINE) {
      line.payload = payload === undefined ? NOTHING : this.#decode(cursor, payload);
    } else throw cursor.fault("Line has an unknown type");
    return line;
  }

  #text(cursor: JsonCursor): JsonString | undefined {
    if (cursor.null()) return undefined;
    cursor.text();
    return { ...cursor.string };
  }

  #decode(cursor: JsonCursor, at: JsonString): Uint8Array {
    const bound = base64Bound(at.end - at.start);
    if (bound > this.#scratch.length) this.#scratch = new Uint8Array(bound);
    const length = decodeBase64(cursor.bytes, this.#scratch, at);
    if (length < 0) throw cursor.fault("Payload is not base64");
    return this.#scratch.subarray(0, length);
  }
}

/**
 * The lines of a tar-split (spec: zstd-chunked 4).
 *
 * @param pieces the unpacked text; each piece is done with when the next one is asked for
 * @throws {FormatError} while iterating, for lines that are malformed or longer than 8 MiB
 */
export function* tarSplitLines(
  pieces: Iterable<Uint8Array>,
): Generator<TarSplitLine, void, undefined> {
  const parser = new LineParser();
  for (const text of cutLines(pieces)) {
    if (text.length > 0) yield parser.parse(text);
  }
}
