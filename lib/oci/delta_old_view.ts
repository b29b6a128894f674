/** The old image as those who make a delta see it: its true merged tree (spec: oci 7.6). */
import type { Digest, ObjectId } from "../base/mod.ts";
import {
  listContents,
  Pairer,
  type SourceTableMemory,
  type TargetCompat,
  treeSources,
} from "../delta/mod.ts";
import type { TarEntry } from "../tar/mod.ts";
import { shareContents, type SharedContentsMemory } from "./delta_contents.ts";
import type { ScannedLayer, Stretch } from "./delta_scan.ts";
import { LayerTreeBuilder } from "./layer_tree.ts";

/** The old image as the workers know it. */
export interface OldView {
  /** Finds sources of new files. */
  readonly pairer: Pairer;
  /** What its files hold. */
  readonly contents: SharedContentsMemory;
  /** Sizes of those contents in bytes. */
  readonly sizes: readonly number[];
  /** All files by name, for applying. */
  readonly sources: SourceTableMemory;
  /** Where each content is. */
  readonly places: ReadonlyMap<ObjectId, Stretch>;
}

/** Layers scanned at a time, besides those that wait for a worker. */
const LANES = 8;
/**
 * Merges the old image's layers and lists what its files hold.
 *
 * @param options.scan scans the layer with a number
 * @throws {FormatError} for layers that do not fit on top of each other
 */
export async function readOldView(
  diffIds: readonly Digest[],
  options: { compat: TargetCompat; scan: (number: number) => Promise<ScannedLayer> },
): Promise<OldView> {
  const numbers = firstOf(diffIds);
  const scans = await mapLanes(numbers, options.scan);
  const places = new Map<ObjectId, Stretch>();
  const entries = new Map<string, readonly TarEntry[]>();
  for (const [i, scanned] of scans.entries()) {
    entries.set(diffIds[numbers[i]!]!.toString(), scanned.entries);
    const { fd, offset } = scanned.tar;
    for (const place of scanned.places) {
      const { id, size } = place;
      if (!places.has(id)) places.set(id, { fd, offset: offset + place.offset, size });
    }
  }
  const builder = new LayerTreeBuilder();
  for (const diffId of diffIds) {
    builder.applyLayer(entries.get(diffId.toString())!, diffId.toString());
  }
  const contents = listContents(builder.tree, options);
  return {
    pairer: new Pairer(contents),
    contents: shareContents(contents, ({ id }) => places.get(id)!),
    sizes: contents.map(({ size }) => size),
    sources: treeSources(builder.tree),
    places,
  };
}

/** Positions of the digests that did not come before. */
export function firstOf(digests: readonly Digest[]): number[] {
  const seen = new Set<string>();
  const numbers: number[] = [];
  for (const [i, digest] of digests.entries()) {
    const key = digest.toString();
    if (!seen.has(key)) numbers.push(i);
    seen.add(key);
  }
  return numbers;
}

/**
 * Does something for all items, a few at a time; results in order.
 *
 * @throws the first failure, when the others that were under way have come to their end
 */
export async function mapLanes<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const lane = async () => {
    while (next < items.length && failures.length === 0) {
      const i = next++;
      try {
        results[i] = await work(items[i]!);
      } catch (error) {
        failures.push(error); // thrown when the others have come to their end
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  if (failures.length > 0) throw failures[0];
  return results;
}
