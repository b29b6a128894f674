/** When a request is tried again (spec: ostree 8.5). */

/** How often and after what time requests are tried again. */
export interface RetryOptions {
  /** Tries after the first one. @default 5 */
  readonly retries?: number;
  /** Longest pause before the first of them, in milliseconds; doubles each time. @default 500 */
  readonly backoff?: number;
  /** Told of each try that failed and will be made again. */
  readonly onRetry?: (retry: Retry) => void;
}

/** A try that failed. */
export interface Retry {
  /** Why, without anything secret. */
  readonly reason: Error;
  /** Milliseconds until the next try. */
  readonly pause: number;
}

/** Longest pause, whatever a server asks for, in milliseconds. */
export const MAX_PAUSE = 120_000;

/** Whether an answer with this status may be a passing trouble. */
export function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/**
 * The pause before a try in milliseconds: between half of `backoff · 2ⁿ` and all of it, so that
 * many clients do not come back together.
 *
 * @param tries how many tries were made again before
 * @param options.random between 0 and 1
 */
export function pauseBefore(
  tries: number,
  options: { backoff: number; random?: number; retryAfter?: number | undefined },
): number {
  const whole = Math.min(options.backoff * 2 ** tries, MAX_PAUSE);
  const pause = whole * (0.5 + (options.random ?? Math.random()) / 2);
  return Math.min(Math.max(pause, options.retryAfter ?? 0), MAX_PAUSE);
}

/** What `Retry-After` asks for in milliseconds, in seconds or as a date; `undefined` for neither. */
export function parseRetryAfter(text: string | null, now: number = Date.now()): number | undefined {
  if (text === null) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Waits; ends early, and throws the reason, when aborted. */
export function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}
