/**
 * Where tests keep what is dear to make: below the user's cache directory (XDG), never in the
 * checkout.
 *
 * @module
 */

/**
 * A directory of ours in the user's cache, made when missing.
 *
 * @param name Directory below `composefs-ts`.
 * @returns Its absolute path.
 */
export function cacheDir(name: string): string {
  const home = Deno.env.get("HOME") ?? "/root";
  const dir = `${Deno.env.get("XDG_CACHE_HOME") || `${home}/.cache`}/composefs-ts/${name}`;
  Deno.mkdirSync(dir, { recursive: true });
  return dir;
}
