import type { ByteString } from "../base/mod.ts";
import { FormatError, toByteString } from "../base/mod.ts";
import { INLINE_MAX } from "./entry.ts";
import { type Extensions, headerSize, isRegular, TarHead } from "./head.ts";
import { checkChecksum, isGnu, isHeader, isUstar, isZeroBlock } from "./header.ts";
import { BLOCK, HEADER, LOOKAHEAD_LIMIT, METADATA_LIMIT, padded, TYPE } from "./layout.ts";
import { parsePax } from "./pax.ts";

/** What the state machine tells. All views and the head are valid only during the call. */
export interface TarEvents {
  /** Bytes that are not the content of a file above {@linkcode INLINE_MAX}, in order. */
  inline(bytes: Uint8Array): void;
  /** An entry begins. */
  entry(head: TarHead): void;
  /** A piece `[start, end)` of the content of a regular file up to {@linkcode INLINE_MAX}. */
  small(bytes: Uint8Array, range: { start: number; end: number }): void;
  /** The content of a file of `size` bytes above {@linkcode INLINE_MAX} begins. */
  externalStart(size: number): void;
  /** A piece of that content. */
  externalData(bytes: Uint8Array): void;
  /** That content is complete. */
  externalEnd(): void;
}

/** At a header boundary, or inside the header. */
const AT_HEADER = 0;
/** Inside the data of a `L`, `K`, `x` or `g` record. */
const IN_EXTENSION = 1;
/** Inside the padding of such a record. */
const IN_EXTENSION_PADDING = 2;
/** Inside content that stays inline. */
const IN_SMALL = 3;
/** Inside the padding of content that stays inline, or data that nobody wants. */
const IN_SKIP = 4;
/** Inside content that becomes an object. */
const IN_EXTERNAL = 5;
/** Inside the padding after it. */
const IN_EXTERNAL_PADDING = 6;
/** Behind a header that should have no data but has a size. */
const DECIDING = 7;
/** Behind the end of the archive. */
const ENDED = 8;

const WINDOW_FIRST = 1 << 16;
const WINDOW_STEP = 1 << 18;
/** Types that have no content whatever their size field says (spec: oci 2.3). */
const HEADER_ONLY: ReadonlySet<number> = new Set<number>([
  TYPE.hardlink,
  TYPE.symlink,
  TYPE.char,
  TYPE.block,
  TYPE.directory,
  TYPE.fifo,
]);

function fail(message: string): FormatError {
  return new FormatError("tar", message);
}

/**
 * The one tar parser: a push-driven state machine that takes bytes in pieces of any size, and can be
 * told that an object stands for the content that comes next. Memory is bounded: the extension data
 * of one entry, and a window of {@linkcode LOOKAHEAD_LIMIT} behind a header-only entry with a size.
 *
 * Such a size is usually stale, since most writers of tar ignore it. It is taken as zero when the
 * next block is a header (or zero) and the block behind the data is not a header; where that block
 * is out of reach the next block alone decides.
 */
export class TarMachine {
  readonly #events: TarEvents;
  readonly #head = new TarHead();
  readonly #partial = new Uint8Array(BLOCK);
  #partialUsed = 0;
  #state = AT_HEADER;
  /** Bytes left in the current state. */
  #left = 0;
  /** Padding behind the current content. */
  #padding = 0;
  #zeroSeen = false;
  #window = new Uint8Array(0);
  #windowStart = 0;
  #windowEnd = 0;
  #meta = new Uint8Array(BLOCK);
  #metaUsed = 0;
  #metaType = 0;
  #longName: ByteString | undefined;
  #longLink: ByteString | undefined;
  /** Where the records of the PAX header wait in `#meta`. */
  #paxRange: readonly [start: number, end: number] | undefined;
  #metaStart = 0;
  #pending = false;

  /** Starts at the beginning of a stream. */
  constructor(events: TarEvents) {
    this.#events = events;
  }

  /** Whether the end of the archive was seen; what follows is only kept. */
  get ended(): boolean {
    return this.#state === ENDED;
  }

  /**
   * Takes the next bytes.
   *
   * @throws {FormatError} with the reference's words; the machine must not be used afterwards
   */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#windowEnd > this.#windowStart) {
        const count = Math.min(bytes.length - at, WINDOW_STEP);
        this.#remember(bytes, at, at + count);
        at += count;
        this.#runWindow(false);
      } else {
        const stopped = this.#run(bytes, at, { end: bytes.length, boundary: false });
        if (stopped < bytes.length) this.#remember(bytes, stopped, bytes.length);
        at = bytes.length;
      }
    }
  }

  /**
   * An object stands for the content that comes next.
   *
   * @throws {FormatError} when no content above {@linkcode INLINE_MAX} is due
   */
  external(): void {
    this.#runWindow(true);
    if (this.#state === IN_EXTERNAL && this.#left === this.#head.size) {
      this.#state = IN_EXTERNAL_PADDING;
      this.#left = this.#padding;
      this.#events.externalEnd();
      if (this.#left === 0) this.#state = AT_HEADER;
    } else if (this.#state === IN_SMALL && this.#left === this.#head.size) {
      throw fail(
        `Splitstream incorrectly stored a small (${this.#head.size} byte) file external`,
      );
    } else throw fail("Unexpected external reference in splitstream");
  }

  /**
   * Ends the stream.
   *
   * @throws {FormatError} when it ends anywhere but between entries or behind the end marker
   */
  finish(): void {
    this.#runWindow(true);
    switch (this.#state) {
      case ENDED:
        return;
      case AT_HEADER:
        if (this.#partialUsed === 0 && !this.#pending && !this.#zeroSeen) return;
        throw fail("unexpected EOF in tar stream");
      case IN_EXTENSION:
      case IN_EXTENSION_PADDING:
        throw fail("unexpected EOF in tar stream");
      case IN_EXTERNAL_PADDING:
        throw fail("unexpected EOF reading tar padding");
      default:
        throw fail("unexpected EOF reading tar entry");
    }
  }

  /** Keeps bytes until it can be decided what they are. */
  #remember(bytes: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (this.#window.length - this.#windowEnd < count) {
      const used = this.#windowEnd - this.#windowStart;
      // Growing to twice the need keeps the moves linear in the input.
      const target = used + count > this.#window.length / 2
        ? new Uint8Array(Math.max(WINDOW_FIRST, 2 * (used + count)))
        : this.#window;
      target.set(this.#window.subarray(this.#windowStart, this.#windowEnd), 0);
      this.#window = target;
      this.#windowStart = 0;
      this.#windowEnd = used;
    }
    this.#window.set(bytes.subarray(start, end), this.#windowEnd);
    this.#windowEnd += count;
  }

  #runWindow(boundary: boolean): void {
    if (this.#windowEnd === this.#windowStart && this.#state !== DECIDING) return;
    this.#windowStart = this.#run(this.#window, this.#windowStart, {
      end: this.#windowEnd,
      boundary,
    });
    if (this.#windowStart === this.#windowEnd) this.#windowStart = this.#windowEnd = 0;
  }

  /**
   * Works on `bytes[start, end)`; returns where it stopped: at the end, or earlier when more bytes
   * are needed for a decision. At a `boundary` no more bytes come, and every decision is made.
   */
  #run(bytes: Uint8Array, start: number, { end, boundary }: {
    end: number;
    boundary: boolean;
  }): number {
    let at = start;
    let inlineFrom = start;
    const finishInline = (to: number) => {
      if (to > inlineFrom) {
        this.#events.inline(
          inlineFrom === 0 && to === bytes.length ? bytes : bytes.subarray(inlineFrom, to),
        );
      }
    };
    while (at < end || (this.#state === DECIDING && boundary)) {
      switch (this.#state) {
        case AT_HEADER: {
          if (this.#partialUsed === 0 && end - at >= BLOCK) {
            at += BLOCK;
            this.#block(bytes, at - BLOCK);
          } else {
            const count = Math.min(BLOCK - this.#partialUsed, end - at);
            this.#partial.set(bytes.subarray(at, at + count), this.#partialUsed);
            this.#partialUsed += count;
            at += count;
            if (this.#partialUsed === BLOCK) {
              this.#partialUsed = 0;
              this.#block(this.#partial, 0);
            }
          }
          break;
        }
        case IN_EXTERNAL: {
          finishInline(at);
          const count = Math.min(this.#left, end - at);
          this.#events.externalData(
            at === 0 && count === bytes.length ? bytes : bytes.subarray(at, at + count),
          );
          at += count;
          inlineFrom = at;
          this.#left -= count;
          if (this.#left === 0) {
            this.#left = this.#padding;
            this.#state = this.#left === 0 ? AT_HEADER : IN_EXTERNAL_PADDING;
            this.#events.externalEnd();
          }
          break;
        }
        case DECIDING: {
          const decided = this.#decide(bytes, at, { end, boundary });
          if (!decided) {
            finishInline(at);
            return at;
          }
          break;
        }
        case ENDED:
          at = end;
          break;
        default: {
          const count = Math.min(this.#left, end - at);
          if (this.#state === IN_EXTENSION) this.#extend(bytes, at, at + count);
          else if (this.#state === IN_SMALL) {
            this.#events.small(bytes, { start: at, end: at + count });
          }
          at += count;
          this.#left -= count;
          if (this.#left === 0) this.#next();
        }
      }
    }
    finishInline(at);
    return at;
  }

  /** Leaves a state whose bytes are used up. */
  #next(): void {
    if (this.#state === IN_EXTENSION) this.#endExtension();
    const padded = this.#state === IN_EXTENSION || this.#state === IN_SMALL;
    if (padded && this.#padding > 0) {
      this.#left = this.#padding;
      this.#state = this.#state === IN_SMALL ? IN_SKIP : IN_EXTENSION_PADDING;
    } else this.#state = AT_HEADER;
  }

  /** A whole block at a header boundary. */
  #block(bytes: Uint8Array, at: number): void {
    if (bytes[at] === 0 && isZeroBlock(bytes, at)) {
      if (!this.#zeroSeen) {
        this.#zeroSeen = true;
        return;
      }
      if (this.#pending) throw fail("metadata entries without a following actual entry");
      this.#state = ENDED;
      return;
    }
    // A single zero block is stray: it is kept and skipped.
    this.#zeroSeen = false;
    checkChecksum(bytes, at);
    const type = bytes[at + HEADER.type[0]]!;
    switch (type) {
      case TYPE.globalPax:
        this.#startExtension(headerSize(bytes, at), type);
        return;
      case TYPE.gnuLongName:
      case TYPE.gnuLongLink:
      case TYPE.pax:
      case TYPE.gnuSparse:
        if (!isUstar(bytes, at) && !isGnu(bytes, at)) break;
        if (type === TYPE.gnuSparse) throw fail("sparse tar entries are not supported");
        this.#startExtension(headerSize(bytes, at), type);
        return;
    }
    this.#entry(bytes, at);
  }

  #startExtension(size: number, type: number): void {
    if (type === TYPE.gnuLongName && this.#longName !== undefined) {
      throw fail("duplicate GNU long name entry");
    }
    if (type === TYPE.gnuLongLink && this.#longLink !== undefined) {
      throw fail("duplicate GNU long link entry");
    }
    if (type === TYPE.pax && this.#paxRange !== undefined) {
      throw fail("duplicate PAX extended header");
    }
    const total = type === TYPE.globalPax ? size : this.#metaUsed + size;
    if (total > METADATA_LIMIT) {
      throw fail(`metadata exceeds limit: ${total} bytes > ${METADATA_LIMIT} bytes`);
    }
    // Global headers are read only to be dropped, but they drop what was pending too.
    if (type === TYPE.globalPax) this.#metaUsed = 0;
    this.#pending = true;
    this.#metaType = type;
    this.#state = IN_EXTENSION;
    this.#left = size;
    this.#padding = padded(size) - size;
    if (size === 0) this.#next();
  }

  #extend(bytes: Uint8Array, start: number, end: number): void {
    const used = this.#metaUsed + end - start;
    if (used > this.#meta.length) {
      const grown = new Uint8Array(Math.max(used, 2 * this.#meta.length));
      grown.set(this.#meta.subarray(0, this.#metaUsed));
      this.#meta = grown;
    }
    this.#meta.set(bytes.subarray(start, end), this.#metaUsed);
    this.#metaUsed = used;
  }

  #endExtension(): void {
    const end = this.#metaUsed;
    const start = this.#metaStart;
    this.#metaStart = end;
    switch (this.#metaType) {
      case TYPE.globalPax:
        this.#dropPending();
        break;
      case TYPE.pax:
        // Parsed only now that all of it is there; faults show at the entry it belongs to.
        this.#paxRange = [start, end];
        break;
      default: {
        const stripped = end > start && this.#meta[end - 1] === 0 ? end - 1 : end;
        const text = toByteString(this.#meta.subarray(start, stripped));
        if (this.#metaType === TYPE.gnuLongName) this.#longName = text;
        else this.#longLink = text;
      }
    }
  }

  #dropPending(): void {
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#paxRange = undefined;
    this.#metaUsed = 0;
    this.#metaStart = 0;
    this.#pending = false;
  }

  #entry(bytes: Uint8Array, at: number): void {
    const head = this.#head;
    if (this.#pending) {
      const range = this.#paxRange;
      const pax = range === undefined ? undefined : parsePax(this.#meta, range[0], range[1]);
      if (pax?.sparse) throw fail("sparse tar entries are not supported");
      const extensions: Extensions = { longName: this.#longName, longLink: this.#longLink, pax };
      head.read(bytes, at, extensions);
      this.#dropPending();
    } else head.read(bytes, at, undefined);
    this.#events.entry(head);
    const size = head.size;
    if (size === 0) return;
    this.#padding = padded(size) - size;
    this.#left = size;
    if (isRegular(head.type)) {
      if (size > INLINE_MAX) {
        this.#state = IN_EXTERNAL;
        this.#events.externalStart(size);
      } else this.#state = IN_SMALL;
    } else if (HEADER_ONLY.has(head.type)) this.#state = DECIDING;
    else this.#skip();
  }

  /** Data that belongs to no regular file: kept inline, not looked at. */
  #skip(): void {
    this.#state = IN_SKIP;
    this.#left += this.#padding;
  }

  /** Decides whether the data of a header-only entry is there; false when more bytes are needed. */
  #decide(bytes: Uint8Array, at: number, { end, boundary }: {
    end: number;
    boundary: boolean;
  }): boolean {
    const available = end - at;
    if (available < BLOCK) {
      if (boundary) this.#skip();
      return boundary;
    }
    const next = isZeroBlock(bytes, at) || isHeader(bytes, at);
    if (!next) {
      this.#skip();
      return true;
    }
    const behind = this.#left + this.#padding;
    if (behind <= LOOKAHEAD_LIMIT) {
      if (available >= behind + BLOCK) {
        if (isHeader(bytes, at + behind)) {
          this.#skip();
          return true;
        }
      } else if (!boundary) return false;
    }
    this.#left = 0;
    this.#state = AT_HEADER;
    return true;
  }
}
