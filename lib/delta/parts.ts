import type { LayerPart, NewFile } from "./create.ts";

/** Bytes of changed files in one part: enough to be worth a message, little enough to share out. */
const PART_WORK = 4 * 2 ** 20;
/** Work of a byte that only has to be passed over. */
const PASSED = 1 / 16;

/**
 * Divides a layer into parts that can be diffed independently of each other. The division depends
 * on nothing but the layer, so that the result is the same on any number of threads.
 *
 * @param files the layer's files in order
 * @param size size of the layer in bytes
 */
export function divideLayer(files: readonly NewFile[], size: number): LayerPart[] {
  const parts: LayerPart[] = [];
  let start = 0;
  let first = 0;
  let work = 0;
  for (const [i, file] of files.entries()) {
    work += file.same ? 0 : file.size;
    const end = file.offset + file.size;
    if (work + (end - start) * PASSED < PART_WORK) continue;
    parts.push({ start, end, files: files.slice(first, i + 1) });
    start = end;
    first = i + 1;
    work = 0;
  }
  if (start < size || parts.length === 0) {
    parts.push({ start, end: size, files: files.slice(first) });
  }
  return parts;
}
