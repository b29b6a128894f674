/** Raw deflate, as the content of archive objects is packed (spec: ostree 2.4). */
import { constants, createInflateRaw, inflateRawSync } from "node:zlib";
import { FormatError, SyncZlib } from "../base/mod.ts";
import { WholeInflater } from "../../ffi/mod.ts";

const CHUNK = 64 * 1024;
/** Buffers up to this size may move: no native code can write to them. */
const ON_HEAP = 64;
const NOTHING = new Uint8Array(0);

/** Unpacks raw deflate streams one after the other, without allocations of its own. */
export class RawInflater implements Disposable {
  readonly #steps: SyncZlib | undefined;
  /** Libdeflate, looked for at the first whole stream; null where it is missing. */
  #wholes: WholeInflater | null | undefined;

  /** Takes the runtime's inflater. */
  constructor() {
    const steps = SyncZlib.open(createInflateRaw({ chunkSize: CHUNK }), "deflate");
    this.#steps = steps?.resettable ? steps : undefined;
  }

  /** Whether streams can be unpacked piece by piece; otherwise only {@linkcode RawInflater.all}. */
  get stepwise(): boolean {
    return this.#steps !== undefined;
  }

  /** Starts with a new stream. */
  reset(): void {
    this.#steps?.reset();
  }

  /**
   * Unpacks a whole stream into `output`; bytes after its end are ignored.
   *
   * @returns bytes that were made: all of `output` when there may be more
   * @throws {FormatError} for damaged input
   */
  all(packed: Uint8Array, output: Uint8Array): number {
    const made = this.#whole(packed, output);
    if (made >= 0) return made;
    if (this.#steps !== undefined) {
      this.#steps.reset();
      return this.#steps.step(constants.Z_SYNC_FLUSH, packed, 0, output);
    }
    let plain: Uint8Array;
    try {
      plain = inflateRawSync(packed, {
        maxOutputLength: Math.max(output.length, 1),
        finishFlush: constants.Z_SYNC_FLUSH,
      });
    } catch (cause) {
      const code = (cause as { code?: unknown }).code;
      if (code === "ERR_BUFFER_TOO_LARGE") return output.length;
      throw new FormatError("deflate", `Invalid deflate data: ${(cause as Error).message}`);
    }
    output.set(plain);
    return plain.length;
  }

  /** As `all`, by libdeflate; -1 where it cannot, and for all that zlib has to judge. */
  #whole(packed: Uint8Array, output: Uint8Array): number {
    if (packed.buffer.byteLength <= ON_HEAP || output.buffer.byteLength <= ON_HEAP) return -1;
    this.#wholes ??= WholeInflater.open() ?? null;
    return this.#wholes?.inflate(packed, output) ?? -1;
  }

  /**
   * Unpacks the next piece of a stream.
   *
   * @param output reused for what is yielded
   * @yields views of `output`, valid until the next one is asked for
   */
  *step(piece: Uint8Array, output: Uint8Array): Generator<Uint8Array, void, undefined> {
    const steps = this.#steps;
    if (steps === undefined) throw new TypeError("Streams cannot be stepped in this runtime");
    for (let at = 0; at < piece.length;) {
      const made = steps.step(constants.Z_NO_FLUSH, piece, at, output);
      const left = steps.inputLeft;
      if (made > 0) yield output.subarray(0, made);
      // What is left when nothing is made any more lies behind the end of the stream.
      if (made < output.length && (left === 0 || left === piece.length - at || made === 0)) break;
      at = piece.length - left;
      if (left === 0 && made === output.length) {
        yield* this.#rest(output);
        break;
      }
    }
  }

  /** What the inflater still holds after it took all input. */
  *#rest(output: Uint8Array): Generator<Uint8Array, void, undefined> {
    for (;;) {
      const made = this.#steps!.step(constants.Z_NO_FLUSH, NOTHING, 0, output);
      if (made > 0) yield output.subarray(0, made);
      if (made < output.length) return;
    }
  }

  /** Gives the inflater back. */
  [Symbol.dispose](): void {
    this.#steps?.[Symbol.dispose]();
    this.#wholes?.[Symbol.dispose]();
    this.#wholes = undefined;
  }
}
