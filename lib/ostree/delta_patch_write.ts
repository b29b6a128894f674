/** Making the patches of static deltas: bsdiff's records without its header (spec: ostree 7.3). */
import { type MatchSink, PairMatcher } from "../delta/mod.ts";
import { PATCH_RECORD, PATCH_RECORD_SIZE } from "./delta_patch.ts";

/** A stretch that is shorter costs more as a record of its own than it saves. */
const LEAST = 20;

/** A record: bytes that are like the old file's, bytes that are not. */
interface Stretch {
  /** Where the old file is read. */
  oldAt: number;
  /** Bytes that are added to what is read there. */
  diff: number;
  /** Bytes that stand for themselves. */
  extra: number;
}

/** Makes patches; its tables serve one pair of files after the other. */
export class PatchMaker {
  readonly #matcher = new PairMatcher();

  /**
   * Makes the patch that leads from one content to another.
   *
   * @returns the patch, or `undefined` when the two have nothing in common
   */
  make(old: Uint8Array, fresh: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
    const stretches = new Stretches();
    this.#matcher.setOld(old);
    this.#matcher.match(fresh, stretches);
    return stretches.useful ? encodePatch(stretches.list, old, fresh) : undefined;
  }
}

/** Gathers stretches in the order of the new content. */
class Stretches implements MatchSink {
  readonly list: Stretch[] = [{ oldAt: 0, diff: 0, extra: 0 }];
  useful = false;

  similar(_freshAt: number, oldAt: number, length: number): void {
    if (length < LEAST) return this.unlike(0, length);
    this.useful = true;
    const last = this.list.at(-1)!;
    if (last.extra === 0 && last.oldAt + last.diff === oldAt) last.diff += length;
    else this.list.push({ oldAt, diff: length, extra: 0 });
  }

  unlike(_freshAt: number, length: number): void {
    this.list.at(-1)!.extra += length;
  }
}

function encodePatch(
  stretches: readonly Stretch[],
  old: Uint8Array,
  fresh: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(fresh.length + stretches.length * PATCH_RECORD_SIZE);
  const view = new DataView(out.buffer);
  let at = 0;
  let done = 0;
  stretches.forEach(({ oldAt, diff, extra }, index) => {
    const after = oldAt + diff;
    const next = stretches[index + 1]?.oldAt ?? after;
    writeSignMagnitude(view, at + PATCH_RECORD.diff[0], diff);
    writeSignMagnitude(view, at + PATCH_RECORD.extra[0], extra);
    writeSignMagnitude(view, at + PATCH_RECORD.seek[0], next - after);
    at += PATCH_RECORD_SIZE;
    for (let i = 0; i < diff; i++) out[at + i] = fresh[done + i]! - old[oldAt + i]!;
    out.set(fresh.subarray(done + diff, done + diff + extra), at + diff);
    at += diff + extra;
    done += diff + extra;
  });
  return out;
}

/** A number of 64 bits whose top bit is its sign. */
function writeSignMagnitude(view: DataView, at: number, value: number): void {
  const magnitude = Math.abs(value);
  const high = Math.floor(magnitude / 0x100000000);
  view.setUint32(at, magnitude % 0x100000000, true);
  view.setUint32(at + 4, value < 0 ? high + 0x80000000 : high, true);
}
