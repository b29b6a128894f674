/** Ranges of a blob on their way into a file. */
import { ComposefsError } from "../base/mod.ts";
import type { FetchPlan } from "../chunked/mod.ts";
import { type Fd, ftruncate, pwriteAll } from "../../ffi/mod.ts";
import { SpaceWatch } from "../repository/mod.ts";
import type { Descriptor, ImageSource, RangeArrival } from "../transport/mod.ts";

/**
 * Fetches ranges of a blob into a file that has them where the blob has them; nothing vouches for
 * what comes.
 *
 * @param to.arrival told which ranges are there
 * @throws {ComposefsError} when not all of them come
 * @throws {UnsupportedError} before the file system is full
 */
export async function fetchRanges(
  source: ImageSource,
  descriptor: Descriptor,
  to: { ranges: FetchPlan["ranges"]; fd: Fd; arrival: RangeArrival; signal: AbortSignal },
): Promise<void> {
  const { ranges, fd, arrival, signal } = to;
  if (ranges.length === 0) return;
  ftruncate(fd, descriptor.size);
  const numbers = new Map(ranges.map(({ start }, i) => [start, i]));
  const used = new Float64Array(ranges.length);
  const space = new SpaceWatch(fd.number);
  let taken = 0;
  const sink = ({ offset }: { offset: number }, piece: Uint8Array) => {
    const number = numbers.get(offset);
    const range = number === undefined ? undefined : ranges[number];
    if (number === undefined || range === undefined) return; // not asked for
    const left = range.end - range.start - used[number]!;
    const bytes = piece.length > left ? piece.subarray(0, left) : piece;
    space.check(taken += bytes.length);
    pwriteAll(fd, settled(bytes), offset + used[number]!);
    used[number]! += bytes.length;
    if (bytes.length === left) arrival.arrived(number);
  };
  const asked = ranges.map(({ start, end }) => ({ offset: start, size: end - start }));
  const given = await source.ranges!(descriptor, asked, { signal, sink });
  const missing = ranges.some(({ start, end }, i) => used[i] !== end - start);
  if (given && !missing) return;
  throw new ComposefsError(
    "CFS_FAILED",
    given ? "Not all parts of the blob came" : "The source gives only whole blobs",
  );
}

/** Pieces below this may lie where the engine moves them. */
const SAFE_PIECE = 4096;
const still = new Uint8Array(new ArrayBuffer(SAFE_PIECE));

/** The bytes in memory that stays where it is. */
function settled(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= SAFE_PIECE) return bytes;
  still.set(bytes);
  return still.subarray(0, bytes.length);
}
