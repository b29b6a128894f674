/** The patches of static deltas: bsdiff's records without its header (spec: ostree 7.3). */
import { FormatError } from "../base/mod.ts";
import type { PartBytes } from "./part_bytes.ts";

const FORMAT = "ostree delta";
/** A record's head: three numbers of 64 bits, magnitude and sign. */
export const PATCH_RECORD = {
  diff: [0, "i64sm"],
  extra: [8, "i64sm"],
  seek: [16, "i64sm"],
} as const;
/** Bytes of a record's head. */
export const PATCH_RECORD_SIZE = 24;
/** Bytes worked on at a time. */
const PIECE = 256 * 1024;

/** Content that a patch or a copy reads from. */
export interface DeltaSource extends Disposable {
  /** Its size in bytes. */
  readonly size: number;
  /**
   * Reads bytes from a position; the range is inside.
   *
   * @throws {FormatError} when fewer are there
   */
  read(into: Uint8Array, position: number): void;
}

/** Applies patches; the buffers are reused. */
export class Patcher {
  readonly #source = new Uint8Array(PIECE);
  readonly #out = new Uint8Array(PIECE);

  /**
   * Makes `size` bytes and hands them to `write` in pieces that are valid during the call.
   *
   * @returns bytes of the patch that were used
   * @throws {FormatError} when the patch ends early or makes more
   */
  apply(
    patch: PartBytes,
    source: DeltaSource,
    output: { size: number; write: (bytes: Uint8Array) => void },
  ): number {
    let left = output.size;
    let at = 0;
    let position = 0;
    while (left > 0) {
      if (patch.size - at < PATCH_RECORD_SIZE) {
        throw new FormatError(FORMAT, "corrupt patch: cut off");
      }
      const { diff, extra, seek } = parseRecord(patch.get(at, PATCH_RECORD_SIZE));
      at += PATCH_RECORD_SIZE;
      if (diff < 0 || extra < 0 || diff > left || extra > left - diff) {
        throw new FormatError(FORMAT, "corrupt patch: more than the object's size");
      }
      if (diff + extra > patch.size - at) throw new FormatError(FORMAT, "corrupt patch: cut off");
      for (let done = 0; done < diff; done += PIECE) {
        const size = Math.min(PIECE, diff - done);
        this.#add(patch.get(at + done, size), source, position + done);
        output.write(this.#out.subarray(0, size));
      }
      at += diff;
      for (let done = 0; done < extra; done += PIECE) {
        output.write(patch.get(at + done, Math.min(PIECE, extra - done)));
      }
      at += extra;
      left -= diff + extra;
      position += diff + seek;
      if (!Number.isSafeInteger(position)) {
        throw new FormatError(FORMAT, "corrupt patch: seeks too far");
      }
    }
    return at;
  }

  /** Differences plus what the source has there; outside of it there are zeros. */
  #add(diff: Uint8Array, source: DeltaSource, position: number): void {
    const out = this.#out;
    const from = Math.min(Math.max(position, 0), source.size);
    const to = Math.min(Math.max(position + diff.length, from), source.size);
    if (to === from) {
      out.set(diff);
      return;
    }
    const bytes = this.#source.subarray(0, to - from);
    source.read(bytes, from);
    const shift = from - position;
    if (bytes.length < diff.length) out.set(diff);
    for (let i = 0; i < bytes.length; i++) out[shift + i] = diff[shift + i]! + bytes[i]!;
  }
}

function parseRecord(bytes: Uint8Array): { diff: number; extra: number; seek: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    diff: signMagnitude(view, PATCH_RECORD.diff[0]),
    extra: signMagnitude(view, PATCH_RECORD.extra[0]),
    seek: signMagnitude(view, PATCH_RECORD.seek[0]),
  };
}

/** A number of 64 bits whose top bit is its sign. */
function signMagnitude(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  const value = (high & 0x7fffffff) * 0x100000000 + view.getUint32(at, true);
  if (value > Number.MAX_SAFE_INTEGER) throw new FormatError(FORMAT, "corrupt patch: number");
  return high > 0x7fffffff ? -value : value;
}
