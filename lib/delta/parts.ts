import { FRESH_LIMIT, type LayerPart, type NewFile } from "./create.ts";

/** Bytes of changed files in one part: enough to be worth a message, little enough to share out. */
const PART_WORK = 4 * 2 ** 20;
/** Work of a byte that only has to be passed over. */
const PASSED = 1 / 16;

/** Cuts a layer into parts as it goes through the files. */
class Divider {
  readonly parts: LayerPart[] = [];
  readonly #files: readonly NewFile[];
  #start = 0;
  #first = 0;
  #work = 0;

  constructor(files: readonly NewFile[]) {
    this.#files = files;
  }

  /** Ends a part at `end`, at or in front of the end of the file before `next`. */
  #cut(end: number, next: number): void {
    const file = this.#files[next - 1];
    const whole = file === undefined || file.offset + file.size <= end;
    this.parts.push({ start: this.#start, end, files: this.#files.slice(this.#first, next) });
    this.#start = end;
    this.#first = whole ? next : next - 1;
    this.#work = 0;
  }

  /** Goes over literal bytes between two files; what they make has to fit into memory, too. */
  gap(from: number, to: number, next: number): void {
    for (let end = from + FRESH_LIMIT; end < to; end += FRESH_LIMIT) this.#cut(end, next);
  }

  /** Goes over a file. */
  file(number: number): void {
    const { offset, size, same } = this.#files[number]!;
    const end = offset + size;
    if (!same) {
      let done = 0;
      for (; size - done > FRESH_LIMIT; done += FRESH_LIMIT) {
        this.#cut(offset + done + FRESH_LIMIT, number + 1);
      }
      this.#work += size - done;
    }
    if (this.#work + (end - this.#start) * PASSED >= PART_WORK) this.#cut(end, number + 1);
  }

  /** Ends the last part. */
  finish(size: number): LayerPart[] {
    if (this.#start < size || this.parts.length === 0) this.#cut(size, this.#files.length);
    return this.parts;
  }
}

/**
 * Divides a layer into parts that can be diffed independently of each other; large files are divided,
 * too. The division depends on nothing but the layer, so that the result is the same on any number
 * of threads.
 *
 * @param files the layer's files in order
 * @param size size of the layer in bytes
 */
export function divideLayer(files: readonly NewFile[], size: number): LayerPart[] {
  const divider = new Divider(files);
  let end = 0;
  for (const [i, file] of files.entries()) {
    divider.gap(end, file.offset, i);
    divider.file(i);
    end = file.offset + file.size;
  }
  divider.gap(end, size, files.length);
  return divider.finish(size);
}
