/** Turns of the event loop for others, in work that never waits for anything. */
import { setImmediate } from "node:timers";

/** Turns of the event loop that let all waiting messages in: each takes at most one, every other. */
const TURNS = 6;

/**
 * Lets messages of workers in; takes a few microseconds. A thread that works without a pause calls
 * this now and then, or its workers' results stay unseen and they get nothing new.
 */
export async function letMessagesIn(): Promise<void> {
  for (let i = 0; i < TURNS; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Longest that timers, signals and messages wait, in milliseconds, where one step takes less. */
const TURN_MS = 50;

/** Tells when work has gone on for so long that others should have their turn. */
export class Turns {
  #last = performance.now();

  /** Whether it is time to call {@linkcode Turns.give}; asked after each step. */
  get due(): boolean {
    return performance.now() - this.#last >= TURN_MS;
  }

  /**
   * Lets timers, signals and messages in.
   *
   * @throws the signal's reason when it is aborted
   */
  async give(signal?: AbortSignal): Promise<void> {
    await letMessagesIn();
    signal?.throwIfAborted();
    this.#last = performance.now();
  }
}
