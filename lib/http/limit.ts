/** Keeps the bytes of many requests together below a rate. */
import { sleep } from "./retry.ts";

/** Time that may be gone ahead of the rate, in milliseconds: pauses shorter than timers are no use. */
const BURST = 50;

/** A rate that several requests share. */
export class RateLimit {
  readonly #perMillisecond: number;
  /** When all that was taken is paid for. */
  #free = 0;

  /**
   * Sets the rate.
   *
   * @param rate bytes a second, more than 0
   */
  constructor(rate: number) {
    if (!(rate > 0)) throw new RangeError(`A rate of ${rate} bytes a second would never end`);
    this.#perMillisecond = rate / 1000;
  }

  /** Takes bytes out of the rate; returns what to wait for when it is used up. */
  take(bytes: number, signal?: AbortSignal): Promise<void> | undefined {
    const now = performance.now();
    this.#free = Math.max(this.#free, now - BURST) + bytes / this.#perMillisecond;
    return this.#free <= now ? undefined : sleep(this.#free - now, signal);
  }
}
