/** What carrying out, or only looking at, a tar-diff may come to (spec: oci 7.4). */
import { FormatError } from "../base/mod.ts";

/** Most bytes that come out of one tar-diff, unless something else is said. */
const OUTPUT_LIMIT = 64 * 2 ** 30;
/** Idle operations (OPEN, SEEK) that are allowed besides one for each byte that comes out. */
const IDLE_ALLOWANCE = 10_000_000;

/** Counts what comes out of a tar-diff: a small one could go on for ever. */
export class OperationBudget {
  readonly #limit: number;
  #produced = 0;
  #idle = 0;

  /** `limit` is the number of bytes that may come out; 64 GiB when it is left out. */
  constructor(limit: number = OUTPUT_LIMIT) {
    this.#limit = limit;
  }

  /** Bytes that came out so far. */
  get produced(): number {
    return this.#produced;
  }

  /**
   * Counts what is going to come out of an operation.
   *
   * @throws {FormatError} when it is too much
   */
  produce(n: number): void {
    this.#produced += n;
    if (this.#produced > this.#limit) {
      throw new FormatError("tar-diff", `Layer exceeds the limit of ${this.#limit} bytes`);
    }
  }

  /**
   * Counts an operation that nothing comes out of: they are small, and so can be very many.
   *
   * @throws {FormatError} when it is one too many
   */
  rest(): void {
    if (++this.#idle > IDLE_ALLOWANCE + this.#produced) {
      throw new FormatError("tar-diff", "Too many operations that nothing comes out of");
    }
  }
}
