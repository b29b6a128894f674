/** Options that are numbers. */
import { InvalidNameError } from "../lib/base/mod.ts";

/**
 * Parses a small count: threads, layers at a time, a level.
 *
 * @param text The argument.
 * @throws {InvalidNameError} for anything but a number from 1 to 999
 */
export function parseCount(text: string): number {
  if (/^[1-9][0-9]{0,2}$/.test(text)) return Number(text);
  throw new InvalidNameError("expected a number from 1 to 999");
}
