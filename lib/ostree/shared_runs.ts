/** What a file has in common with an older one, wherever that is in both of them. */

/** Bytes that are the same in both. */
export interface SharedRun {
  /** Where they are in the new file. */
  readonly at: number;
  /** Where they are in the old one. */
  readonly from: number;
  /** How many they are. */
  readonly length: number;
}

/** Bytes of a block; of the old file each is known by its hash. */
const BLOCK = 512;
/** What must be the same for a reference to the old file to be worth it. */
const LEAST = 64;
/** Blocks with the hash of another one that are looked at in vain until no more is looked for. */
const MAX_VAIN = 100_000;
/** Multiplier of the rolling hash. */
const FACTOR = 0x01000193;

/**
 * Finds runs of the same bytes: the beginning, the end, and blocks that have moved between them.
 *
 * @param old the older content
 * @param fresh the newer content
 * @returns runs in the order of the new content, which do not overlap there
 */
export function sharedRuns(old: Uint8Array, fresh: Uint8Array): SharedRun[] {
  const most = Math.min(old.length, fresh.length);
  let head = 0;
  while (head < most && old[head] === fresh[head]) head++;
  if (head < LEAST) head = 0;
  let tail = 0;
  while (tail < most - head && old[old.length - 1 - tail] === fresh[fresh.length - 1 - tail]) {
    tail++;
  }
  if (tail < LEAST) tail = 0;
  const runs: SharedRun[] = [];
  if (head > 0) runs.push({ at: 0, from: 0, length: head });
  const end = fresh.length - tail;
  if (end - head >= BLOCK && old.length >= BLOCK) findMoved(old, fresh, { head, end, runs });
  if (tail > 0) runs.push({ at: end, from: old.length - tail, length: tail });
  return runs;
}

/** Adds the runs of what lies between the same beginning and the same end. */
function findMoved(
  old: Uint8Array,
  fresh: Uint8Array,
  { head, end, runs }: { head: number; end: number; runs: SharedRun[] },
): void {
  const blocks = new Map<number, number>();
  for (let at = 0; at + BLOCK <= old.length; at += BLOCK) {
    const hash = hashOf(old, at);
    // The first of equal blocks: which one is taken makes no difference.
    if (!blocks.has(hash)) blocks.set(hash, at);
  }
  const leaving = power(FACTOR, BLOCK);
  let done = head;
  let vain = 0;
  let at = head;
  let hash = hashOf(fresh, at);
  while (vain < MAX_VAIN) {
    const from = blocks.get(hash);
    const length = from === undefined ? 0 : sameFrom(old, from, { fresh, at, end });
    if (length >= BLOCK) {
      let back = 0;
      while (back < at - done && back < from! && old[from! - back - 1] === fresh[at - back - 1]) {
        back++;
      }
      runs.push({ at: at - back, from: from! - back, length: length + back });
      done = at += length;
      if (at + BLOCK > end) return;
      hash = hashOf(fresh, at);
      continue;
    }
    if (from !== undefined) vain++;
    if (at + BLOCK >= end) return;
    hash = (Math.imul(hash, FACTOR) + fresh[at + BLOCK]! - Math.imul(leaving, fresh[at]!)) | 0;
    at++;
  }
}

function hashOf(bytes: Uint8Array, start: number): number {
  let hash = 0;
  for (let i = start; i < start + BLOCK; i++) hash = (Math.imul(hash, FACTOR) + bytes[i]!) | 0;
  return hash;
}

function power(factor: number, exponent: number): number {
  let out = 1;
  for (let i = 0; i < exponent; i++) out = Math.imul(out, factor);
  return out;
}

/** Bytes that are the same from two places on. */
function sameFrom(
  old: Uint8Array,
  from: number,
  { fresh, at, end }: { fresh: Uint8Array; at: number; end: number },
): number {
  const most = Math.min(old.length - from, end - at);
  let length = 0;
  while (length < most && old[from + length] === fresh[at + length]) length++;
  return length;
}
