/**
 * Healing what somebody has found damaged: a pull looks at the objects that were written down, and
 * at no others (spec: oci 4.5, 9).
 *
 * @module
 */
import { ComposefsError, type ObjectId, type ProgressSink, Turns } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { WantedLayer } from "./layer_supply.ts";
import { layerStream } from "./tags.ts";

/** What is known of damage when an image is pulled. */
export interface Healing {
  /** Objects of the image's layers that are damaged: layers with them count as missing. */
  readonly damaged: ReadonlySet<ObjectId>;
  /** Objects of the repository that may be damaged. */
  readonly suspects: readonly ObjectId[];
}

/** How to look for damage. */
export interface HealingOptions {
  /** Everything is imported once more anyway. @default false */
  readonly repair?: boolean | undefined;
  /** Layers come from deltas or not at all, which heals nothing. @default false */
  readonly deltaOnly?: boolean | undefined;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Told what is damaged. */
  readonly progress?: ProgressSink | undefined;
}

/**
 * Looks whether layers that are there have objects that are damaged.
 *
 * @returns `undefined` when nobody has found any damage in the repository
 */
export async function findHealing(
  repository: Repository,
  wanted: readonly WantedLayer[],
  options: HealingOptions = {},
): Promise<Healing | undefined> {
  const known = repository.knownDamage();
  if (known === undefined) return undefined;
  const { ids, all } = known;
  const healing = { damaged: new Set<ObjectId>(), suspects: [...ids] };
  if (options.repair) return healing;
  const warn = (text: string) => options.progress?.({ type: "warning", text });
  if (all) {
    warn("there is no telling what is damaged, so all of the image is checked; fsck finds out");
  }
  const seen = new Set<ObjectId>();
  const turns = new Turns();
  for (const id of layerObjects(repository, wanted)) {
    if (seen.has(id) || !(all || ids.has(id))) continue;
    seen.add(id);
    if (!repository.objects.isSound(id)) healing.damaged.add(id);
    if (turns.due) await turns.give(options.signal);
  }
  const { damaged } = healing;
  if (damaged.size === 0) return healing;
  const objects = `${damaged.size} ${damaged.size === 1 ? "object" : "objects"} of the image`;
  if (options.deltaOnly) {
    warn(`${objects} found damaged, which a delta cannot heal; the image itself can`);
    return { ...healing, damaged: new Set() };
  }
  warn(`${objects} found damaged; layers with damage are taken once more`);
  return healing;
}

/** Objects of the layers that are there. */
function* layerObjects(
  repository: Repository,
  wanted: readonly WantedLayer[],
): Generator<ObjectId> {
  for (const key of new Set(wanted.map(({ id }) => layerStream(id)))) {
    try {
      const object = repository.streamObject(key);
      if (object !== undefined) yield* repository.openStreamObject(object).objectRefs;
    } catch (error) {
      // The stream itself is damaged, which is found, and healed, without any list.
      if (!(error instanceof ComposefsError)) throw error;
    }
  }
}
