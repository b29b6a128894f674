/** Applying a tar-diff: the new layer's bytes from the old image's files (spec: oci 7.2). */
import { FormatError } from "../base/mod.ts";
import { OperationBudget } from "./budget.ts";
import { TAR_DIFF_MAGIC, TAR_DIFF_OP } from "./layout.ts";
import { TarDiffReader } from "./read.ts";
import { type DeltaSource, sourceFault, type SourceFile } from "./source.ts";

/** Size of the pieces that come out. */
const PIECE = 256 * 1024;

const WORD = 4;
const LOW_BITS = 0x7f7f7f7f;
const HIGH_BITS = 0x80808080 | 0;

/** How a tar-diff is applied. */
export interface TarDiffOptions {
  /** The old image's files. */
  readonly source: DeltaSource;
  /**
   * Most bytes that may come out.
   *
   * @default {64 GiB}
   */
  readonly limit?: number;
  /**
   * Told of each file that is copied whole, and where its content begins in what comes out, before
   * any of it does.
   */
  readonly copied?: (file: SourceFile, offset: number) => void;
}

/** How a packed tar-diff is applied. */
export interface ApplyTarDiffOptions extends TarDiffOptions {
  /** Decompresses all zstd frames; pieces may be valid until the next one is asked for. */
  unpack(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
}

/** Carries out operations, in constant memory. */
export class TarDiffPatcher {
  readonly #reader = new TarDiffReader();
  readonly #source: DeltaSource;
  readonly #budget: OperationBudget;
  readonly #copied: TarDiffOptions["copied"];
  /** Carved from one buffer, so that addresses can be taken of it and words fit. */
  readonly #out = new Uint8Array(PIECE);
  readonly #outWords = new Int32Array(this.#out.buffer);
  /** Holds the bytes of an ADD at the same place within a word as the output. */
  #addend: Uint8Array | undefined;
  #addendWords: Int32Array | undefined;
  #used = 0;
  #file: SourceFile | undefined;
  #position = 0;

  /** Starts with no current file. */
  constructor(options: TarDiffOptions) {
    this.#source = options.source;
    this.#budget = new OperationBudget(options.limit);
    this.#copied = options.copied;
  }

  /** Bytes that came out so far. */
  get produced(): number {
    return this.#budget.produced;
  }

  /**
   * Takes the next piece of the operations' plain text.
   *
   * @returns pieces of the new layer, each valid until the next one is asked for; all of them must
   * be taken
   * @throws {FormatError} while iterating; then the patcher must not be used afterwards
   */
  *push(piece: Uint8Array): Generator<Uint8Array, void, undefined> {
    const reader = this.#reader;
    reader.feed(piece);
    for (;;) {
      switch (reader.next()) {
        case "more":
          return;
        case TAR_DIFF_OP.data:
          if (reader.first) this.#budget.produce(reader.n);
          for (let at = 0; at < reader.bytes.length;) {
            const count = Math.min(PIECE - this.#used, reader.bytes.length - at);
            this.#out.set(
              count === reader.bytes.length ? reader.bytes : reader.bytes.subarray(at, at + count),
              this.#used,
            );
            at += count;
            if ((this.#used += count) === PIECE) yield this.#flush();
          }
          break;
        case TAR_DIFF_OP.open:
          this.#budget.rest();
          this.#file = this.#source.open(reader.path);
          this.#position = 0;
          break;
        case TAR_DIFF_OP.copy:
          this.#check(reader.n);
          if (this.#position === 0 && reader.n === this.#file!.size) {
            this.#copied?.(this.#file!, this.#budget.produced);
          }
          this.#budget.produce(reader.n);
          for (let left = reader.n; left > 0;) {
            const count = Math.min(PIECE - this.#used, left);
            this.#read(count);
            left -= count;
            if ((this.#used += count) === PIECE) yield this.#flush();
          }
          break;
        case TAR_DIFF_OP.add:
          if (reader.first) this.#budget.produce(this.#checkAdd(reader.n));
          for (let at = 0; at < reader.bytes.length;) {
            const count = Math.min(PIECE - this.#used, reader.bytes.length - at);
            this.#read(count);
            this.#add(reader.bytes, at, count);
            at += count;
            if ((this.#used += count) === PIECE) yield this.#flush();
          }
          break;
        case TAR_DIFF_OP.seek:
          this.#budget.rest();
          if (this.#file === undefined) throw sourceFault("No current file set in data source");
          this.#position = reader.n;
      }
    }
  }

  /**
   * Ends the operations.
   *
   * @returns the last piece of the new layer, which can be empty
   * @throws {FormatError} for an operation that is cut off
   */
  finish(): Uint8Array {
    this.#reader.finish();
    return this.#flush();
  }

  #flush(): Uint8Array {
    const piece = this.#used === PIECE ? this.#out : this.#out.subarray(0, this.#used);
    this.#used = 0;
    return piece;
  }

  /** Whether the current file has `n` more bytes. */
  #check(n: number): number {
    if (this.#file === undefined) throw sourceFault("No current file set in data source");
    const available = Math.max(0, this.#file.size - this.#position);
    if (n > available) {
      throw sourceFault(`Short read from data source: expected ${n}, got ${available}`);
    }
    return n;
  }

  #checkAdd(n: number): number {
    try {
      return this.#check(n);
    } catch (cause) {
      throw sourceFault("Reading source data for AddData", cause);
    }
  }

  /** Reads behind what is in the output, which has room for it. */
  #read(count: number): void {
    const target = this.#out.subarray(this.#used, this.#used + count);
    const got = this.#file!.read(target, this.#position);
    if (got !== count) {
      throw sourceFault(`Short read from data source: expected ${count}, got ${got}`);
    }
    this.#position += count;
  }

  /** Adds bytes to those behind the end of the output, modulo 256; most of them are zeros. */
  #add(bytes: Uint8Array, from: number, count: number): void {
    const out = this.#out;
    const start = this.#used;
    const end = start + count;
    const shift = start % WORD;
    let at = start;
    const firstWord = Math.min(end, shift === 0 ? start : start + WORD - shift);
    while (at < firstWord) out[at++]! += bytes[from++]!;
    const lastWord = end - (end - at) % WORD;
    if (lastWord > at) {
      const addend = this.#addend ??= new Uint8Array(PIECE);
      const words = this.#addendWords ??= new Int32Array(addend.buffer);
      const outWords = this.#outWords;
      const length = lastWord - at;
      addend.set(bytes.subarray(from, from + length), 0);
      from += length;
      const place = at / WORD;
      for (let i = 0, last = length / WORD; i < last; i++) {
        const a = words[i]!;
        if (a === 0) continue;
        const b = outWords[place + i]!;
        // Four sums without carries between them.
        outWords[place + i] = ((a & LOW_BITS) + (b & LOW_BITS)) ^ ((a ^ b) & HIGH_BITS);
      }
      at = lastWord;
    }
    while (at < end) out[at++]! += bytes[from++]!;
  }
}

/**
 * Applies a tar-diff.
 *
 * @param packed the blob, in pieces of any size
 * @returns the new layer's tar in pieces, each valid until the next one is asked for
 * @throws {FormatError} while iterating, for a damaged tar-diff; with format
 * {@linkcode DELTA_SOURCE_FORMAT} when the old image's files are not what it expects
 */
export async function* applyTarDiff(
  packed: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: ApplyTarDiffOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const patcher = new TarDiffPatcher(options);
  for await (const piece of tarDiffText(packed, (pieces) => options.unpack(pieces))) {
    yield* patcher.push(piece);
  }
  const last = patcher.finish();
  if (last.length > 0) yield last;
}

/**
 * The plain text of a tar-diff's operations: checks the magic, and unpacks what follows.
 *
 * @throws {FormatError} `Invalid tar-diff header`, `incomplete frame`, and what `unpack` throws
 */
export async function* tarDiffText(
  packed: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  unpack: ApplyTarDiffOptions["unpack"],
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* unpack(behindMagic(packed));
}

async function* behindMagic(
  packed: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let known = 0;
  let any = false;
  for await (const piece of packed) {
    let at = 0;
    while (known < TAR_DIFF_MAGIC.length && at < piece.length) {
      if (piece[at++] !== TAR_DIFF_MAGIC[known++]) {
        throw new FormatError("tar-diff", "Invalid tar-diff header");
      }
    }
    if (at === piece.length) continue;
    any = true;
    yield at === 0 ? piece : piece.subarray(at);
  }
  if (known < TAR_DIFF_MAGIC.length) {
    throw new FormatError("tar-diff", "Unexpected end of file in the tar-diff header");
  }
  if (!any) throw new FormatError("zstd", "incomplete frame");
}
