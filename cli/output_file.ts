import { withContext } from "../lib/base/mod.ts";

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    // Whatever else keeps it from being seen keeps it from being written.
    if (error instanceof Deno.errors.NotFound) return false;
    return true;
  }
}

/**
 * Writes a file that the user has named; a new one is removed again when it cannot be completed.
 *
 * @param path The file.
 * @param bytes Its content.
 * @param doing What this is, for the message, for example `Writing os.tar`.
 * @throws {ComposefsError} `<doing>` with the reason
 */
export function writeOutputFile(path: string, bytes: Uint8Array, doing: string): void {
  const there = isThere(path);
  try {
    Deno.writeFileSync(path, bytes);
  } catch (cause) {
    if (!there && isThere(path)) Deno.removeSync(path);
    throw withContext(doing, cause);
  }
}
