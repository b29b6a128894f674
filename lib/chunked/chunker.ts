/** Bytes that the rolling sum looks back (spec: zstd-chunked 3.1). */
const WINDOW = 64;
const CHAR_OFFSET = 31;
const SPLIT_MASK = 0xffff;
/** Zeros in a row that are a chunk of their own. */
const HOLE = 1024;

/** A chunk of a file. */
export interface Chunk {
  /** Where it starts in the file, in bytes. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly size: number;
  /** Whether it is nothing but zeros that were found as a run. */
  readonly zeros: boolean;
}

/**
 * Cuts a file's content into chunks, as all writers of zstd:chunked do: where is a function of the
 * content alone (spec: zstd-chunked 3.1).
 */
export class Chunker {
  readonly #onChunk: (chunk: Chunk) => void;
  readonly #window = new Uint8Array(WINDOW);
  #at = 0;
  #s1 = WINDOW * CHAR_OFFSET;
  #s2 = WINDOW * (WINDOW - 1) * CHAR_OFFSET;
  /** Where the current chunk starts. */
  #start = 0;
  /** Bytes so far, the zeros that are held back not included. */
  #position = 0;
  /** Zeros in a row that may become a chunk. */
  #held = 0;

  /** Tells `onChunk` of each chunk, in order. */
  constructor(onChunk: (chunk: Chunk) => void) {
    this.#onChunk = onChunk;
  }

  /** Takes the next bytes of the file. */
  push(bytes: Uint8Array): void {
    const length = bytes.length;
    for (let i = 0; i < length; i++) {
      const byte = bytes[i]!;
      if (byte === 0) {
        this.#held++;
        continue;
      }
      if (this.#held > 0) this.#zeros();
      this.#roll(byte);
      this.#position++;
      if ((this.#s2 & SPLIT_MASK) === SPLIT_MASK) this.#cut(false);
    }
  }

  /** Ends the file; the chunker can be used for the next one. */
  finish(): void {
    this.#zeros();
    this.#cut(false);
    this.#window.fill(0);
    this.#at = this.#start = this.#position = 0;
    this.#s1 = WINDOW * CHAR_OFFSET;
    this.#s2 = WINDOW * (WINDOW - 1) * CHAR_OFFSET;
  }

  #roll(byte: number): void {
    const old = this.#window[this.#at]!;
    this.#window[this.#at] = byte;
    this.#at = (this.#at + 1) % WINDOW;
    this.#s1 = (this.#s1 + byte - old) | 0;
    this.#s2 = (this.#s2 + this.#s1 - WINDOW * (old + CHAR_OFFSET)) | 0;
  }

  /** Takes the zeros in that were held back: as a chunk, or as data. */
  #zeros(): void {
    const count = this.#held;
    this.#held = 0;
    const hole = count >= HOLE;
    if (hole) this.#cut(false);
    // With a window of zeros, only the second sum goes on: by nothing, as s1 is what it started as.
    const rolled = hole ? Math.min(count, WINDOW) : count;
    for (let i = 0; i < rolled; i++) {
      this.#roll(0);
      if (hole) continue;
      this.#position++;
      if ((this.#s2 & SPLIT_MASK) === SPLIT_MASK) this.#cut(false);
    }
    if (!hole) return;
    this.#position += count;
    this.#cut(true);
  }

  #cut(zeros: boolean): void {
    const size = this.#position - this.#start;
    if (size === 0) return;
    this.#onChunk({ offset: this.#start, size, zeros });
    this.#start = this.#position;
  }
}
