/** A stretch of a blob. */
export interface BlobRange {
  /** First byte. */
  readonly start: number;
  /** The byte behind the last one. */
  readonly end: number;
}

/** How ranges are joined. */
export interface MergeOptions {
  /** Bytes between two ranges that are fetched too rather than asked around. @default 4096 */
  gap?: number;
  /** Most ranges; above it the smallest gaps are closed. @default 1024 */
  most?: number;
}

/** Bytes that cost about as much as asking around them. */
export const DEFAULT_GAP = 4096;
const MOST = 1024;

/**
 * Joins ranges that touch, overlap or nearly touch (spec: zstd-chunked 6 step 5).
 *
 * @param ranges in the order of their starts
 * @returns disjoint ranges in order
 */
export function mergeRanges(
  ranges: readonly BlobRange[],
  options: MergeOptions = {},
): BlobRange[] {
  const most = Math.max(1, options.most ?? MOST);
  const merged = joinCloser(ranges, options.gap ?? DEFAULT_GAP);
  if (merged.length <= most) return merged;
  const gaps = new Float64Array(merged.length - 1);
  for (let i = 1; i < merged.length; i++) gaps[i - 1] = merged[i]!.start - merged[i - 1]!.end;
  // All gaps up to this one are closed; of equal ones possibly more than needed.
  const limit = gaps.toSorted()[merged.length - most - 1]!;
  return joinCloser(merged, limit);
}

function joinCloser(ranges: readonly BlobRange[], gap: number): BlobRange[] {
  const out: { start: number; end: number }[] = [];
  for (const { start, end } of ranges) {
    const last = out.at(-1);
    if (last !== undefined && start - last.end <= gap) last.end = Math.max(last.end, end);
    else out.push({ start, end });
  }
  return out;
}

/** Bytes in all ranges, which are disjoint. */
export function rangeBytes(ranges: readonly BlobRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}
