/**
 * Makes a directory the user's cache, until the result is disposed of: all tests share one
 * environment, and programs started by others keep their modules in the cache.
 *
 * @param path The directory.
 */
export function cacheHome(path: string): Disposable {
  const name = "XDG_CACHE_HOME";
  const before = Deno.env.get(name);
  Deno.env.set(name, path);
  return {
    [Symbol.dispose]() {
      if (before === undefined) Deno.env.delete(name);
      else Deno.env.set(name, before);
    },
  };
}
