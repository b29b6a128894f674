/**
 * `cfs __complete WORDS…`: what could come instead of the last word, one a line with a tab and a
 * description; then a line that says what the shell may add. Called by the scripts of
 * `cfs completions`.
 *
 * @module
 */
import { complete } from "../complete.ts";
import type { Context } from "../context.ts";

/** A description must not end the line or the field. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}

/** Runs the completion. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const { candidates, fallback } = await complete(args, context);
  for (const { value, description } of candidates) {
    // A word with a line break could not be told from two words.
    if (!/[\t\n]/.test(value)) context.stdout.line(`${value}\t${oneLine(description)}`);
  }
  context.stdout.line(`:${fallback}`);
  return 0;
}
