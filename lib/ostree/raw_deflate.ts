/** Packing content of archive objects: raw deflate (spec: ostree 2.4). */
import { constants, createDeflateRaw, deflateRawSync } from "node:zlib";
import { ComposefsError, SyncZlib } from "../base/mod.ts";

/** Level of compression in archive repositories, ostree's default. */
const LEVEL = 6;
const PACKED = 256 * 1024;
const NOTHING = new Uint8Array(0);

/** Packs contents one after the other, in memory that does not depend on their sizes. */
export class RawDeflater implements Disposable {
  readonly #steps: SyncZlib | undefined;
  readonly #output = new Uint8Array(PACKED);

  /** Takes the runtime's deflater. */
  constructor() {
    const steps = SyncZlib.open(createDeflateRaw({ level: LEVEL, chunkSize: PACKED }), "deflate");
    this.#steps = steps?.resettable ? steps : undefined;
  }

  /**
   * A raw deflate stream of pieces.
   *
   * @param size bytes of all pieces
   * @yields packed pieces, each valid until the next one is asked for
   */
  *pack(
    pieces: Iterable<Uint8Array>,
    size: number,
  ): Generator<Uint8Array, void, undefined> {
    const steps = this.#steps;
    if (steps === undefined) {
      yield deflateRawSync(joined(pieces, size), { level: LEVEL });
      return;
    }
    steps.reset();
    const output = this.#output;
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; at = piece.length - steps.inputLeft) {
        const made = steps.step(constants.Z_NO_FLUSH, piece, at, output);
        if (made > 0) yield output.subarray(0, made);
      }
    }
    for (let made = output.length; made === output.length;) {
      made = steps.step(constants.Z_FINISH, NOTHING, 0, output);
      if (made > 0) yield output.subarray(0, made);
    }
  }

  /** Gives the deflater back. */
  [Symbol.dispose](): void {
    this.#steps?.[Symbol.dispose]();
  }
}

/** For runtimes that cannot pack piece by piece. */
function joined(pieces: Iterable<Uint8Array>, size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    if (piece.length > size - at) throw new ComposefsError("CFS_FORMAT", "Object grew");
    whole.set(piece, at);
    at += piece.length;
  }
  return whole.subarray(0, at);
}
