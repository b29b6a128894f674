/** Dates of commits. */

/** Seconds of the last year that is written with four digits. */
const LAST = 253402300799n;

/**
 * A commit's time as the reference prints it; the number itself when it is no date.
 *
 * @param seconds Since 1970.
 */
export function formatTimestamp(seconds: bigint): string {
  if (seconds > LAST) return String(seconds);
  const text = new Date(Number(seconds) * 1000).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 19)} UTC`;
}
