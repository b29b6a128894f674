/** The operations that make a part of a new layer from the old image's contents (spec: oci 7.6). */
import type { ByteString } from "../base/mod.ts";
import type { ContentIndex, Found } from "./content_index.ts";
import { PairMatcher } from "./match.ts";
import type { TarDiffWriter } from "./write.ts";

/** What the old image holds; contents are numbered, equal files are one content. */
export interface OldContents {
  /** Size of a content in bytes. */
  size(content: number): number;
  /** A name by which an applier finds it. */
  path(content: number): ByteString;
  /**
   * Reads until `buffer` is full or the content ends.
   *
   * @returns the number of bytes that were read
   */
  read(content: number, buffer: Uint8Array, position: number): number;
}

/** A regular file of the new layer, and what is known of its source. */
export interface NewFile {
  /** Where its content starts in the layer, in bytes. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly size: number;
  /** The old content that it equals, or that it has in all likelihood come from; -1 for none. */
  readonly content: number;
  /** Name of that content to open. */
  readonly path: ByteString;
  /** Whether it equals it. */
  readonly same: boolean;
}

/** A stretch of a new layer; plain data, so that it can be sent to a worker. */
export interface LayerPart {
  /** Where it starts, in bytes. */
  readonly start: number;
  /** Where it ends. */
  readonly end: number;
  /** The files that have content in it, in order; that of the first and last may be cut. */
  readonly files: readonly NewFile[];
}

/** Reads the new layer's bytes from a place on until `buffer` is full. */
export type LayerReader = (buffer: Uint8Array, position: number) => void;

/** What {@linkcode PartDiffer} works with. */
export interface PartDifferOptions {
  /** The old image. */
  readonly old: OldContents;
  /** Index of all old contents. */
  readonly index: ContentIndex | undefined;
}

const PIECE = 256 * 1024;
/** Bytes of a new file that are compared at a time. */
export const FRESH_LIMIT: number = 16 * 2 ** 20;
/** Bytes of an old file that they are compared with. */
const OLD_LIMIT = 32 * 2 ** 20;
/** Bytes looked up when choosing a source, and in how many places of the file. */
const SAMPLE = 16 * 1024;
const SAMPLES = 4;
/** Blocks that a content must have in common with a stretch to be compared with it. */
const MIN_VOTES = 3;
/** The part of the stretch's blocks that they must be, at least: a few are found in any large file. */
const VOTE_PART = 1 / 16;
/** How many times as many blocks as the content of the same name. */
const BETTER = 2;
/** Gaps of this size are compared with yet another content. */
const MIN_GAP = 4096;
const MAX_SOURCES = 4;
/** An old file that is this many times as large as a gap costs more time than it is worth. */
const OLD_PER_GAP = 64;
/** Shorter stretches cost more than they save: operations take up to ten bytes. */
const MIN_SIMILAR = 24;
/** The same where another file has to be opened. */
const MIN_ELSEWHERE = 64;
/** Equal bytes that make it worth to leave an ADD for a COPY. */
const ZERO_RUN = 512;
const CACHE_BLOCK = 64 * 1024;
const CACHE_BLOCKS = 256;

/** A stretch of a new file and where it comes from; a content of -1 means nowhere. */
interface Section {
  readonly at: number;
  readonly length: number;
  readonly content: number;
  readonly path: ByteString;
  readonly oldAt: number;
}

/** The whole of what a stretch is looked for in. */
interface Stretch {
  readonly at: number;
  readonly length: number;
  /** Content that is tried first, whatever the index says; -1 for none. */
  readonly content: number;
  readonly path: ByteString;
  /** Contents that it was compared with before. */
  readonly tried: readonly number[];
}

/** Diffs parts of new layers; its buffers serve all of them. */
export class PartDiffer {
  readonly #options: PartDifferOptions;
  readonly #matcher = new PairMatcher();
  readonly #piece = new Uint8Array(PIECE);
  #layer: LayerReader = () => {};
  #fresh = new Uint8Array(0);
  #old = new Uint8Array(0);
  /** What is in `#old`. */
  #loaded = { content: -1, start: 0, length: 0 };
  readonly #difference = new Uint8Array(PIECE);
  readonly #blocks = new Map<number, Uint8Array>();

  /** Takes what parts are compared with. */
  constructor(options: PartDifferOptions) {
    this.#options = options;
  }

  /** Writes the operations that make a part of a layer. */
  diff(part: LayerPart, layer: LayerReader, writer: TarDiffWriter): void {
    this.#layer = layer;
    let at = part.start;
    for (const file of part.files) {
      const start = Math.max(part.start, file.offset);
      const end = Math.min(part.end, file.offset + file.size);
      this.#literal(writer, at, start);
      if (file.same) writer.copy(file.path, start - file.offset, end - start);
      else this.#file(file, { start: start - file.offset, end: end - file.offset }, writer);
      at = end;
    }
    this.#literal(writer, at, part.end);
  }

  #literal(writer: TarDiffWriter, start: number, end: number): void {
    for (let at = start; at < end;) {
      const piece = this.#piece.subarray(0, Math.min(PIECE, end - at));
      this.#layer(piece, at);
      writer.data(piece);
      at += piece.length;
    }
  }

  #file(
    file: NewFile,
    range: { start: number; end: number },
    writer: TarDiffWriter,
  ): void {
    for (let done = range.start; done < range.end; done += FRESH_LIMIT) {
      const length = Math.min(FRESH_LIMIT, range.end - done);
      if (this.#fresh.length < length) this.#fresh = new Uint8Array(roomFor(length));
      const fresh = this.#fresh.subarray(0, length);
      this.#layer(fresh, file.offset + done);
      this.#slice(fresh, { file, done }, writer);
    }
  }

  /** One slice of a file: sections first, then their operations. */
  #slice(
    fresh: Uint8Array,
    place: { file: NewFile; done: number },
    writer: TarDiffWriter,
  ): void {
    const { content, path } = place.file;
    const sections: Section[] = [];
    const pending: Stretch[] = [{ at: 0, length: fresh.length, content, path, tried: [] }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const more = this.#stretch(fresh, next, { sections, place });
      for (const stretch of more.reverse()) pending.push(stretch);
    }
    sections.sort((a, b) => a.at - b.at);
    let at = 0;
    for (const section of sections) {
      writer.data(fresh.subarray(at, section.at));
      this.#emit(fresh, section, writer);
      at = section.at + section.length;
    }
    writer.data(fresh.subarray(at));
  }

  /**
   * Compares a stretch with the best content there is.
   *
   * @returns the gaps that are worth another comparison
   */
  #stretch(
    fresh: Uint8Array,
    stretch: Stretch,
    to: { sections: Section[]; place: { file: NewFile; done: number } },
  ): Stretch[] {
    const source = this.#choose(fresh, stretch);
    if (source === undefined) {
      this.#runs(fresh, stretch, to.sections);
      return [];
    }
    const { content, path } = source;
    const start = this.#loadOld(content, source.hint ?? this.#proportion(content, to.place));
    const gaps: Stretch[] = [];
    const base = stretch.at;
    const tried = [...stretch.tried, content];
    const gap = (at: number, length: number) => {
      const last = gaps.at(-1);
      if (last !== undefined && last.at + last.length === at) {
        gaps[gaps.length - 1] = { ...last, length: last.length + length };
      } else gaps.push({ at, length, content: -1, path: "", tried });
    };
    this.#matcher.match(fresh.subarray(base, base + stretch.length), {
      similar: (at, oldAt, length) => {
        if (length < MIN_SIMILAR) return gap(base + at, length);
        to.sections.push({ at: base + at, length, content, path, oldAt: start + oldAt });
      },
      unlike: (at, length) => gap(base + at, length),
    });
    return gaps.filter((one) => {
      if (one.length >= MIN_GAP) return true;
      this.#runs(fresh, one, to.sections);
      return false;
    });
  }

  /** Where in an old content the counterpart of a slice should be. */
  #proportion(content: number, { file, done }: { file: NewFile; done: number }): number {
    return file.size === 0 ? 0 : Math.floor(this.#options.old.size(content) * (done / file.size));
  }

  /** The content to compare a stretch with: that of the same name, unless another has more of it. */
  #choose(
    fresh: Uint8Array,
    stretch: Stretch,
  ): { content: number; path: ByteString; hint?: number } | undefined {
    const { old, index } = this.#options;
    const named = stretch.content < 0 || stretch.tried.length >= MAX_SOURCES ? undefined : stretch;
    if (index === undefined || stretch.tried.length >= MAX_SOURCES) return named;
    const votes = new Map<number, { count: number; hint: number }>();
    const stride = Math.max(SAMPLE, Math.floor(stretch.length / SAMPLES));
    let sampled = 0;
    for (let at = 0; at < stretch.length; at += stride) {
      const from = stretch.at + at;
      const to = Math.min(from + SAMPLE, stretch.at + stretch.length);
      sampled += to - from;
      index.scan(fresh, { from, to }, (place, found) => {
        const vote = votes.get(found.file);
        if (vote === undefined) votes.set(found.file, { count: 1, hint: found.position });
        else vote.count++;
        return place + index.parts.step;
      });
    }
    let best = stretch.content;
    let most = Math.max(MIN_VOTES, Math.ceil(sampled / index.parts.step * VOTE_PART)) - 1;
    if (named !== undefined) most = Math.max(most, (votes.get(best)?.count ?? 0) * BETTER);
    for (const [content, { count }] of votes) {
      // The first inserted of equals wins, whatever the order they were met in.
      if (count < most || (count === most && (best === stretch.content || content > best))) {
        continue;
      }
      if (stretch.tried.includes(content)) continue;
      if (named === undefined && old.size(content) > stretch.length * OLD_PER_GAP) continue;
      best = content;
      most = count;
    }
    if (best === stretch.content) return named;
    return { content: best, path: old.path(best), hint: votes.get(best)!.hint };
  }

  /**
   * Makes the matcher know an old content, or of a large one the part around a place.
   *
   * @returns where that part starts
   */
  #loadOld(content: number, around: number): number {
    const { old } = this.#options;
    const size = old.size(content);
    const length = Math.min(size, OLD_LIMIT);
    const loaded = this.#loaded;
    const middle = Math.max(0, Math.min(size - length, around - Math.floor(length / 3)));
    if (loaded.content === content && loaded.length === length && loaded.start === middle) {
      return middle;
    }
    if (this.#old.length < length) this.#old = new Uint8Array(roomFor(length));
    const bytes = this.#old.subarray(0, length);
    old.read(content, bytes, middle);
    this.#matcher.setOld(bytes);
    this.#loaded = { content, start: middle, length };
    return middle;
  }

  /** Exact matches with any content. */
  #runs(fresh: Uint8Array, gap: Stretch, sections: Section[]): void {
    const { index, old } = this.#options;
    if (index === undefined || gap.length < MIN_ELSEWHERE) return;
    const end = gap.at + gap.length;
    let free = gap.at;
    index.scan(fresh, { from: gap.at, to: end }, (at, found) => {
      const { file: content, position } = found;
      const forward = this.#same(fresh, { from: at, to: end, step: 1 }, found);
      if (forward === 0) return at + 1;
      const back = this.#same(fresh, { from: at - 1, to: free - 1, step: -1 }, {
        file: content,
        position: position - 1,
      });
      const length = forward + back;
      if (length < MIN_ELSEWHERE) return at + forward;
      sections.push({
        at: at - back,
        length,
        content,
        path: old.path(content),
        oldAt: position - back,
      });
      free = at + forward;
      return free;
    });
  }

  /** How many bytes from a place on, in either direction, equal those of a content. */
  #same(
    fresh: Uint8Array,
    range: { from: number; to: number; step: 1 | -1 },
    found: Readonly<Found>,
  ): number {
    const size = this.#options.old.size(found.file);
    let { position } = found;
    let at = range.from;
    while (at !== range.to && position >= 0 && position < size) {
      const block = this.#block(found.file, Math.floor(position / CACHE_BLOCK));
      let within = position % CACHE_BLOCK;
      const before = within;
      while (
        at !== range.to && within >= 0 && within < block.length && block[within] === fresh[at]
      ) {
        within += range.step;
        at += range.step;
      }
      position += within - before;
      if (within >= 0 && within < block.length) break;
    }
    return Math.abs(at - range.from);
  }

  #block(content: number, number: number): Uint8Array {
    const key = content * 2 ** 20 + number;
    const known = this.#blocks.get(key);
    if (known !== undefined) return known;
    let room: Uint8Array | undefined;
    if (this.#blocks.size >= CACHE_BLOCKS) {
      const [first] = this.#blocks;
      room = first![1];
      this.#blocks.delete(first![0]);
    }
    const start = number * CACHE_BLOCK;
    const length = Math.min(CACHE_BLOCK, this.#options.old.size(content) - start);
    const whole = room === undefined ? new ArrayBuffer(CACHE_BLOCK) : room.buffer;
    const block = new Uint8Array(whole, 0, length);
    this.#options.old.read(content, block, start);
    this.#blocks.set(key, block);
    return block;
  }

  /** Operations of a section: ADD, and COPY for what is equal over a longer distance. */
  #emit(fresh: Uint8Array, section: Section, writer: TarDiffWriter): void {
    const { path, content } = section;
    const end = section.at + section.length;
    for (let at = section.at; at < end; at += PIECE) {
      const length = Math.min(PIECE, end - at);
      const oldAt = section.oldAt + (at - section.at);
      const difference = this.#difference.subarray(0, length);
      this.#options.old.read(content, difference, oldAt);
      for (let i = 0; i < length; i++) difference[i] = fresh[at + i]! - difference[i]!;
      for (let i = 0; i < length;) {
        const zeros = zeroRun(difference, i);
        if (zeros >= ZERO_RUN || zeros === length - i) {
          writer.copy(path, oldAt + i, zeros);
          i += zeros;
          continue;
        }
        let next = i + zeros;
        for (; next < length;) {
          if (difference[next] !== 0) next++;
          else {
            const run = zeroRun(difference, next);
            if (run >= ZERO_RUN) break;
            next += run;
          }
        }
        writer.add(path, oldAt + i, difference.subarray(i, next));
        i = next;
      }
    }
  }
}

function zeroRun(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] === 0) at++;
  return at - from;
}

/** Buffers grow in powers of two, so that they are seldom made anew. */
function roomFor(length: number): number {
  let room = PIECE;
  while (room < length) room *= 2;
  return room;
}
